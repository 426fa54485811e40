//! `check_policy_service`: a server says what an access table would say.

use super::evaluation::{Evaluation, Topic};
use super::outcome::Said;
use super::world::AccessWorld;
use crate::policy::PolicyService;

/// What stands for the key where the log names an entry.
const QUERY: &str = "policy query";

impl<W: AccessWorld> Evaluation<'_, W> {
    pub(super) async fn ask_policy(&mut self, service: &PolicyService, topic: Topic<'_>) -> Said {
        let (rules, world) = (self.rules, self.world);
        let settings = service.settings(&rules.policy);
        let answer = world.policy(service, &settings, &self.facts).await;
        for warning in answer.warnings {
            self.warn(warning);
        }
        if let Some(action) = answer.action {
            return self.action(&service.name, QUERY, &action, topic).await;
        }
        // A default action may name a class, and the class this service again.
        if self.is_default_action {
            return self.misconfigured();
        }
        self.is_default_action = true;
        let said = self.action(&service.name, QUERY, settings.default_action, topic).await;
        self.is_default_action = false;
        said
    }
}
