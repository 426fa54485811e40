//! What a test does when this machine lacks something that the test needs: say which, and pass.

/// Prints why the test that calls it does not run here, and returns from it.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        println!("SKIPPED {}: {}", module_path!(), format_args!($($reason)*));
        return;
    }};
}
