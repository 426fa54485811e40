//! A home's account of the grants that other shards hold of one of its sites, and how it shares the window out.
//!
//! Every slot that becomes free goes to whoever wants one and has the fewest; among equals to the one whose last
//! grant lies furthest back. The home's own work is one of the claimants: what is left free after
//! [`Ledger::balance`] is its share. Nobody is asked to give back unless it has at least two more than one who
//! waits, or somebody has none at all: then slots go round, one delivery each.

use super::settings::TransportSettings;
use super::slots::{Grant, Outcomes, Revoke, SiteHandle, SlotMessage, Standing};
use super::window::Window;
use smallvec::SmallVec;
use std::sync::Arc;

/// What the home itself has and wants of the site.
#[derive(Clone, Copy)]
pub(super) struct Own {
    /// Deliveries in progress.
    pub held: u32,
    /// Those and the ones that could start.
    pub wanted: u32,
}

pub(super) struct Ledger {
    members: Vec<Member>,
    /// Counts grants, so that turns can be compared.
    turn: u64,
    own_turn: u64,
    /// The end of a rate delay for which the scheduler has set a timer.
    pub timer_at_ms: u64,
}

/// One shard that has opened the site.
struct Member {
    shard: u16,
    /// The site's handle there.
    site: SiteHandle,
    /// Grants that have not come back, those that have not been said yet included.
    held: u32,
    /// Of these, asked back.
    revoking: u32,
    wanted: u32,
    turn: u64,
    unsaid: Unsaid,
}

impl Member {
    fn takes(&mut self, grants: u32) {
        self.held += grants;
        self.unsaid.grant += grants;
    }

    fn is_to_give(&mut self, after_use: u32, now: u32) {
        self.unsaid.revoke_after_use += after_use;
        self.unsaid.revoke_now += now;
        self.revoking += after_use + now;
    }
}

/// What a member has not been told yet.
#[derive(Default)]
struct Unsaid {
    opened: bool,
    standing: bool,
    grant: u32,
    revoke_after_use: u32,
    revoke_now: u32,
    /// The site is in the line of those that have something for this member's shard.
    queued: bool,
}

impl Unsaid {
    fn is_empty(&self) -> bool {
        !self.opened && !self.standing && self.grant + self.revoke_after_use + self.revoke_now == 0
    }
}

/// Who is to have the slot of a transport that has a rate delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The home itself.
    Home,
    /// Another shard, which hears of it.
    Member,
}

/// Somebody who has slots or wants some, while a balance is drawn.
struct Claimant {
    /// Index of the member; none for the home itself.
    member: Option<usize>,
    /// Slots that it keeps, those it is about to get included.
    has: u32,
    /// Of these, slots that others have yet to give back.
    due: u32,
    wanted: u32,
    turn: u64,
    takes: u32,
    gives_after_use: u32,
    gives_now: u32,
}

impl Claimant {
    fn waits(&self) -> bool {
        self.has < self.wanted
    }

    fn can_give(&self) -> bool {
        self.has > self.due
    }

    fn gets_due(&mut self) {
        self.has += 1;
        self.due += 1;
    }

    fn gives_in_turn(&mut self) {
        self.has -= 1;
        self.gives_after_use += 1;
    }
}

type Claimants = SmallVec<[Claimant; 8]>;

impl Ledger {
    pub fn new() -> Self {
        Self { members: Vec::new(), turn: 0, own_turn: 0, timer_at_ms: 0 }
    }

    /// A shard opens the site.
    pub fn open(&mut self, shard: u16, site: SiteHandle, wanted: u32) {
        assert!(self.members.iter().all(|member| member.shard != shard), "shard {shard} opened a site twice");
        let unsaid = Unsaid { opened: true, ..Unsaid::default() };
        self.members.push(Member { shard, site, held: 0, revoking: 0, wanted, turn: self.turn, unsaid });
    }

    /// A shard has forgotten the site; says how many grants go with it (those that crossed its last word).
    pub fn close(&mut self, shard: u16) -> u32 {
        let index = self.index(shard);
        self.members.swap_remove(index).held
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Nobody has or wants anything.
    pub fn is_quiet(&self) -> bool {
        self.members.iter().all(|member| member.held == 0 && member.wanted == 0)
    }

    /// Grants that have not come back.
    #[cfg(test)]
    pub fn held(&self) -> u32 {
        self.members.iter().map(|member| member.held).sum()
    }

    /// A shard says what it needs; true if that is more than it holds.
    pub fn wants(&mut self, shard: u16, wanted: u32) -> bool {
        let index = self.index(shard);
        let member = &mut self.members[index];
        member.wanted = wanted;
        wanted > member.held
    }

    /// A shard gives grants back.
    pub fn returned(&mut self, shard: u16, outcomes: &Outcomes) {
        let index = self.index(shard);
        let member = &mut self.members[index];
        let returned = outcomes.returned;
        assert!(returned <= member.held, "shard {shard} gave back {returned} of {} grants", member.held);
        member.held -= returned;
        member.revoking = member.revoking.saturating_sub(returned);
    }

    /// A delivery of the home's own starts.
    pub fn own_starts(&mut self) {
        self.turn += 1;
        self.own_turn = self.turn;
    }

    /// Everybody is to hear whether the site is dead.
    pub fn tell_standing(&mut self) {
        self.members.iter_mut().for_each(|member| member.unsaid.standing = true);
    }

    /// One is to hear it (again).
    pub fn tell_standing_to(&mut self, shard: u16) {
        let index = self.index(shard);
        self.members[index].unsaid.standing = true;
    }

    /// Gives out what is free, asks back what is too much, and lets those who wait have their turn. While the site is
    /// dead nothing is asked back: the word of it brings everything home.
    pub fn balance(&mut self, window: &mut Window, settings: &TransportSettings, own: Own, now_ms: u64) {
        if window.standing(settings, now_ms) != Standing::Open {
            return;
        }
        let mut claimants = self.claimants(own);
        let kept: u32 = claimants.iter().map(|claimant| claimant.has).sum();
        let closed = window.closed_until_ms() > now_ms;
        let free = if closed { 0 } else { window.width().saturating_sub(kept) };
        hand_out(&mut claimants, window.room(settings, now_ms), free);
        narrow(&mut claimants, kept.saturating_sub(window.width()));
        even_out(&mut claimants);
        take_turns(&mut claimants);
        for claimant in &claimants {
            let Some(index) = claimant.member else { continue };
            let member = &mut self.members[index];
            if claimant.takes > 0 {
                self.turn += 1;
                member.turn = self.turn;
                member.takes(claimant.takes);
                window.grant(claimant.takes);
            }
            // With a rate delay every grant is for one delivery: the pause is the home's to keep.
            let once = if settings.rate_delay_ms > 0 { claimant.takes } else { 0 };
            let after_use = claimant.gives_after_use.max(once);
            member.is_to_give(after_use, claimant.gives_now);
        }
    }

    /// A rate delay begins: no grant that is out serves more than one delivery.
    pub fn recall(&mut self) {
        for member in &mut self.members {
            let reusable = member.held.saturating_sub(member.revoking);
            member.is_to_give(reusable, 0);
        }
    }

    /// Grants one delivery to whoever wants one and has none, in turn; the caller has asked the window.
    pub fn grant_once(&mut self, own: Own) -> Option<Turn> {
        let mut claimants = self.claimants(own);
        hand_out(&mut claimants, 1, 1);
        let Claimant { member, .. } = claimants.into_iter().find(|claimant| claimant.takes > 0)?;
        self.turn += 1;
        let Some(index) = member else {
            self.own_turn = self.turn;
            return Some(Turn::Home);
        };
        let member = &mut self.members[index];
        member.turn = self.turn;
        member.takes(1);
        member.is_to_give(1, 0);
        Some(Turn::Member)
    }

    /// Whether somebody waits that a free slot could serve.
    pub fn has_waiting(&self) -> bool {
        self.members.iter().any(|member| member.wanted > member.held)
    }

    /// The shards that have something to hear and whose line does not have the site yet; they count as told so.
    pub fn newly_queued(&mut self, mut queue: impl FnMut(u16)) {
        for member in &mut self.members {
            if !member.unsaid.queued && !member.unsaid.is_empty() {
                member.unsaid.queued = true;
                queue(member.shard);
            }
        }
    }

    /// Says to `shard` what it has not heard; what `send` does not take is kept for the next time.
    pub fn say(
        &mut self,
        shard: u16,
        here: SiteHandle,
        standing: Standing,
        reason: &str,
        now_ms: u64,
        send: &mut impl FnMut(SlotMessage) -> Result<(), SlotMessage>,
    ) -> Result<(), SlotMessage> {
        // The member may have closed the site since it was queued.
        let Some(member) = self.members.iter_mut().find(|member| member.shard == shard) else {
            return Ok(());
        };
        let Member { site, unsaid, .. } = member;
        let site = *site;
        if unsaid.opened {
            send(SlotMessage::SiteOpened { site, home_site: here })?;
            unsaid.opened = false;
        }
        if unsaid.standing {
            send(match standing {
                Standing::Open => SlotMessage::Alive { site },
                Standing::Dead { until_ms } => {
                    let for_ms = until_ms.saturating_sub(now_ms);
                    SlotMessage::Dead { site, reason: Arc::from(reason), for_ms }
                }
            })?;
            unsaid.standing = false;
        }
        if unsaid.grant > 0 {
            let once = unsaid.grant.min(unsaid.revoke_after_use);
            send(SlotMessage::Grant(Grant { site, deliveries: unsaid.grant, once }))?;
            unsaid.grant = 0;
            unsaid.revoke_after_use -= once;
        }
        for (count, after_use) in [(&mut unsaid.revoke_now, false), (&mut unsaid.revoke_after_use, true)] {
            if *count > 0 {
                send(SlotMessage::Revoke(Revoke { site, deliveries: *count, after_use }))?;
                *count = 0;
            }
        }
        unsaid.queued = false;
        Ok(())
    }

    fn index(&self, shard: u16) -> usize {
        let found = self.members.iter().position(|member| member.shard == shard);
        found.expect("a shard speaks of a site between opening and closing it")
    }

    fn claimants(&self, own: Own) -> Claimants {
        let claimant = |member, has, wanted, turn| Claimant {
            member,
            has,
            due: 0,
            wanted,
            turn,
            takes: 0,
            gives_after_use: 0,
            gives_now: 0,
        };
        let members = self.members.iter().enumerate();
        members
            .map(|(index, m)| claimant(Some(index), m.held.saturating_sub(m.revoking), m.wanted, m.turn))
            .chain([claimant(None, own.held, own.wanted, self.own_turn)])
            .collect()
    }
}

/// Gives `room` slots that are free and, on paper, those that are coming back, up to `free` in all.
fn hand_out(claimants: &mut Claimants, room: u32, free: u32) {
    for nth in 0..free {
        let waiting = claimants.iter_mut().filter(|claimant| claimant.waits());
        let Some(next) = waiting.min_by_key(|claimant| (claimant.has, claimant.turn)) else { return };
        if nth < room {
            next.has += 1;
            next.takes += 1;
        } else {
            next.gets_due();
        }
    }
}

/// Asks `excess` slots back from those who have the most. The home's own deliveries end by themselves.
fn narrow(claimants: &mut Claimants, excess: u32) {
    for _ in 0..excess {
        let most = claimants.iter_mut().max_by_key(|claimant| (claimant.has, claimant.member.is_some()));
        let most = most.expect("the home itself is a claimant");
        most.has = most.has.saturating_sub(1);
        most.gives_now += 1;
    }
}

/// Moves slots from those who have at least two more than one who waits.
fn even_out(claimants: &mut Claimants) {
    loop {
        let waiting = claimants.iter().enumerate().filter(|(_, claimant)| claimant.waits());
        let Some((poorest, has)) = waiting
            .min_by_key(|(_, claimant)| (claimant.has, claimant.turn))
            .map(|(index, claimant)| (index, claimant.has))
        else {
            return;
        };
        let givers = claimants.iter().enumerate().filter(|(_, claimant)| claimant.can_give());
        let richest = givers.max_by_key(|(_, claimant)| claimant.has);
        match richest {
            Some((richest, giver)) if giver.has >= has + 2 => {
                claimants[richest].gives_in_turn();
                claimants[poorest].gets_due();
            }
            _ => return,
        }
    }
}

/// Lets each who has none at all follow one who has one, the one with the oldest turn first.
fn take_turns(claimants: &mut Claimants) {
    let is_left_out = |claimant: &Claimant| claimant.has == 0 && claimant.waits();
    let mut left_out: SmallVec<[usize; 8]> =
        (0..claimants.len()).filter(|&index| is_left_out(&claimants[index])).collect();
    left_out.sort_unstable_by_key(|&index| claimants[index].turn);
    for index in left_out {
        let givers = claimants.iter_mut().filter(|claimant| claimant.can_give());
        let Some(giver) = givers.min_by_key(|claimant| claimant.turn) else { return };
        giver.gives_in_turn();
        claimants[index].gets_due();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: fn(u32) -> TransportSettings =
        |width| TransportSettings { concurrency_initial: width, ..TransportSettings::default() };

    struct Home {
        ledger: Ledger,
        window: Window,
        settings: TransportSettings,
        own: Own,
    }

    impl Home {
        fn new(width: u32, members: u16) -> Self {
            let settings = SETTINGS(width);
            let mut ledger = Ledger::new();
            for shard in 1..=members {
                ledger.open(shard, SiteHandle { index: u32::from(shard), generation: 0 }, 0);
            }
            let window = Window::new(&settings);
            Self { ledger, window, settings, own: Own { held: 0, wanted: 0 } }
        }

        fn balance(&mut self) {
            self.ledger.balance(&mut self.window, &self.settings, self.own, 0);
        }

        fn want(&mut self, shard: u16, wanted: u32) {
            self.ledger.wants(shard, wanted);
            self.balance();
        }

        /// The home starts what it has room for.
        fn own_work(&mut self, wanted: u32) {
            self.own.wanted = wanted;
            self.balance();
            while self.own.held < wanted && self.window.room(&self.settings, 0) > 0 {
                self.window.grant(1);
                self.own.held += 1;
                self.ledger.own_starts();
            }
        }

        fn own_ends(&mut self) {
            self.own.held -= 1;
            self.window.take_back(1);
            let wanted = self.own.wanted;
            self.own_work(wanted);
        }

        fn give_back(&mut self, shard: u16, returned: u32) {
            let outcomes = Outcomes { sent: returned, returned, ..Outcomes::default() };
            self.ledger.returned(shard, &outcomes);
            self.window.take_back(returned);
            self.balance();
            self.own_work(self.own.wanted);
        }

        fn heard(&mut self, shard: u16) -> Vec<SlotMessage> {
            let mut heard = Vec::new();
            let here = SiteHandle { index: 9, generation: 9 };
            let mut send = |message| {
                heard.push(message);
                Ok(())
            };
            self.ledger.say(shard, here, Standing::Open, "", 0, &mut send).expect("there is room");
            heard.retain(|message| !matches!(message, SlotMessage::SiteOpened { .. }));
            heard
        }

        /// What it was granted and asked to give back, as `+granted(once) -after use !at once`.
        fn told(&mut self, shard: u16) -> String {
            let texts = self.heard(shard).into_iter().map(|message| match message {
                SlotMessage::Grant(grant) if grant.once > 0 => {
                    format!("+{}({})", grant.deliveries, grant.once)
                }
                SlotMessage::Grant(grant) => format!("+{}", grant.deliveries),
                SlotMessage::Revoke(revoke) if revoke.after_use => format!("-{}", revoke.deliveries),
                SlotMessage::Revoke(revoke) => format!("!{}", revoke.deliveries),
                other => panic!("{other:?}"),
            });
            texts.collect::<Vec<_>>().join(" ")
        }
    }

    #[test]
    fn a_shard_that_is_alone_gets_the_whole_window_and_no_more() {
        let mut home = Home::new(5, 1);
        home.want(1, 100);
        assert_eq!((home.told(1).as_str(), home.window.granted()), ("+5", 5));
        home.want(1, 200);
        assert_eq!(home.told(1), "");
    }

    #[test]
    fn a_second_one_who_wants_gets_its_half_as_deliveries_end() {
        let mut home = Home::new(6, 2);
        home.want(1, 100);
        assert_eq!(home.told(1), "+6");
        home.want(2, 100);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("-3", ""));
        home.give_back(1, 2);
        assert_eq!(home.told(2), "+2");
        home.give_back(1, 1);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("", "+1"));
    }

    #[test]
    fn the_home_itself_is_one_of_those_who_share() {
        let mut home = Home::new(5, 1);
        home.own_work(50);
        assert_eq!(home.own.held, 5);
        home.want(1, 50);
        for _ in 0..10 {
            home.own_ends();
        }
        assert_eq!((home.own.held, home.told(1).as_str()), (2, "+3"));
    }

    #[test]
    fn who_wants_little_leaves_the_rest_to_the_others() {
        let mut home = Home::new(10, 2);
        home.want(1, 100);
        home.want(2, 1);
        assert_eq!(home.told(1), "+10(1)");
        home.give_back(1, 1);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("", "+1"));
    }

    #[test]
    fn a_single_slot_goes_round_one_delivery_each() {
        let mut home = Home::new(1, 2);
        home.own_work(10);
        home.want(1, 10);
        home.want(2, 10);
        home.own_ends();
        assert_eq!((home.own.held, home.told(1).as_str(), home.told(2).as_str()), (0, "+1(1)", ""));
        home.give_back(1, 1);
        assert_eq!((home.own.held, home.told(1).as_str(), home.told(2).as_str()), (0, "", "+1(1)"));
        home.give_back(2, 1);
        assert_eq!((home.own.held, home.told(1).as_str(), home.told(2).as_str()), (1, "", ""));
        home.own_ends();
        assert_eq!(home.told(1), "+1(1)");
    }

    #[test]
    fn a_grant_that_was_given_for_good_is_asked_back_when_somebody_has_none() {
        let mut home = Home::new(1, 2);
        home.want(1, 10);
        assert_eq!(home.told(1), "+1");
        home.want(2, 10);
        assert_eq!(home.told(1), "-1");
        home.balance();
        assert_eq!(home.told(1), "", "it is asked once");
        home.give_back(1, 1);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("", "+1(1)"));
    }

    #[test]
    fn a_window_that_narrows_asks_back_at_once_from_those_who_have_most() {
        let settings = TransportSettings { failed_cohorts_max: 100, ..SETTINGS(10) };
        let mut home = Home::new(10, 2);
        home.settings = settings;
        home.want(1, 7);
        home.want(2, 3);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("+7", "+3"));
        let trouble = Outcomes { trouble: 2, returned: 2, ..Outcomes::default() };
        home.ledger.returned(2, &trouble);
        home.window.done(&home.settings, &trouble, 0, 1000);
        home.balance();
        assert_eq!(home.window.width(), 7);
        assert_eq!((home.told(1).as_str(), home.told(2).as_str()), ("!1 -2", ""));
    }
}
