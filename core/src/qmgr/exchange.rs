//! Windows that span shards: what the scheduler hears from the other shards and says to them.
//!
//! The caller takes [`SlotMessage`]s out of the rings into [`Scheduler::hear`], and lets [`Scheduler::say`] fill the
//! rings once a turn while [`Scheduler::has_slot_news`]. A site whose home is this shard costs its own deliveries
//! nothing of this as long as no other shard knows it.

use super::claim::{LINGER_MS, Mood};
use super::ledger::{Ledger, Own};
use super::scheduler::Scheduler;
use super::site_table::{Line, Site};
use super::slots::{Outcomes, ShardPlace, SiteHandle, SlotMessage, Standing};
use std::cmp::Reverse;
use std::rc::Rc;

impl Site {
    /// At home: takes a slot of the window if there is work and room. Elsewhere grants are in the queue already, and
    /// also where the transport's gate gives them.
    pub(super) fn take_grant(&mut self, now_ms: u64) {
        let wants = self.claim.is_none() && self.queue.has_work() && !self.queue.has_grant();
        if wants && !self.is_gated() && self.window.room(&self.settings, now_ms) > 0 {
            self.window.grant(1);
            self.queue.granted(1);
        }
    }

    /// A delivery has started, or there was none to start after all: the home takes its unused slot back at once, and
    /// with it the gate's when it is placed.
    pub(super) fn started(&mut self, any: bool) {
        if self.claim.is_some() || self.is_gated() {
            return;
        }
        let unused = self.queue.take_back(u32::MAX);
        self.window.take_back(unused);
        match &mut self.ledger {
            Some(ledger) if any => ledger.own_starts(),
            _ => {}
        }
    }

    /// Whether a slot is free for its work, but for a rate delay.
    pub(super) fn may_start(&self) -> bool {
        match self.claim {
            Some(_) => self.queue.has_grant(),
            None if self.is_gated() => self.queue.has_grant(),
            None => self.window.granted() < self.window.width(),
        }
    }

    /// Nothing that would have to be remembered, here or on another shard. Asked when there is no work.
    pub(super) fn is_idle(&self) -> bool {
        let between_shards = match &self.claim {
            Some(claim) => !claim.is_at_rest(&self.queue),
            None => self.ledger.is_some(),
        };
        self.queue.in_progress() == 0 && !between_shards && !self.at_gate
    }
}

impl Scheduler {
    /// Makes this the scheduler of one shard among several; to be called before any message is known.
    #[must_use]
    pub fn among(mut self, place: ShardPlace) -> Self {
        self.sites.set_place(place);
        self
    }

    /// Whether [`say`](Self::say) has something to say.
    pub fn has_slot_news(&self) -> bool {
        self.sites.has_post()
    }

    /// Says to every shard what it has not heard yet, through `send`, which gives the message back when that shard's
    /// ring is full. False: some ring was; say it again soon.
    pub fn say(
        &mut self,
        now_ms: u64,
        mut send: impl FnMut(u16, SlotMessage) -> Result<(), SlotMessage>,
    ) -> bool {
        self.timeline.observe(now_ms);
        let mut all_said = true;
        for shard in 0..self.sites.place().count {
            // What follows from saying waits for the next time, so that this ends.
            for _ in 0..self.sites.post(shard).len() {
                let Some(&site) = self.sites.post(shard).front() else { break };
                if self.say_of(site, shard, &mut |message| send(shard, message)).is_err() {
                    all_said = false;
                    break;
                }
                self.sites.post(shard).pop_front();
                if self.sites.site(site).is_some() {
                    self.place(site);
                }
            }
        }
        all_said
    }

    /// Takes what the shard `from` says.
    pub fn hear(&mut self, from: u16, message: SlotMessage, now_ms: u64) {
        self.timeline.observe(now_ms);
        let site = match message {
            SlotMessage::SiteOpen { sender_site, names, deliveries } => {
                let site = self.sites.intern(&names.transport, &names.nexthop);
                self.sites.awaken(site);
                let home = self.sites.live(site);
                assert!(home.claim.is_none(), "all shards agree on every site's home");
                home.ledger.get_or_insert_with(|| Box::new(Ledger::new())).open(
                    from,
                    sender_site,
                    deliveries,
                );
                self.answer_need(site, from, deliveries);
                site
            }
            SlotMessage::Want(want) => {
                self.answer_need(want.site, from, want.deliveries);
                want.site
            }
            SlotMessage::Done { want, outcomes } => {
                self.take_outcomes(want.site, from, &outcomes);
                self.answer_need(want.site, from, want.deliveries);
                if outcomes.returned > 0 {
                    self.slot_came_back(want.site, outcomes.sent + outcomes.trouble > 0);
                }
                want.site
            }
            SlotMessage::Revive { site } => {
                self.forget_death(site);
                site
            }
            SlotMessage::SiteClose { site } => {
                let lost = self.ledger(site).close(from);
                let home = self.sites.live(site);
                home.window.take_back(lost);
                home.ledger.take_if(|ledger| ledger.is_empty());
                if lost > 0 {
                    self.slot_came_back(site, false);
                }
                site
            }
            SlotMessage::SiteOpened { site, home_site } => {
                let site_here = self.sites.site_mut(site).expect("a site is forgotten after it was opened");
                site_here.claim.as_mut().expect("only a home answers").opened(home_site);
                site
            }
            SlotMessage::Grant(grant) => {
                // A site may be forgotten while a grant for it is on its way; closing it has given that back.
                let Some(site) = self.sites.site_mut(grant.site) else { return };
                let Site { claim, queue, .. } = site;
                claim.as_mut().expect("only a home grants").granted(queue, grant);
                grant.site
            }
            SlotMessage::Revoke(revoke) => {
                let Some(site) = self.sites.site_mut(revoke.site) else { return };
                let Site { claim, queue, .. } = site;
                claim.as_mut().expect("only a home revokes").revoked(queue, revoke);
                revoke.site
            }
            SlotMessage::Dead { site, reason, for_ms } => {
                let until_ms = self.timeline.now_ms().saturating_add(for_ms);
                let Some(dead) = self.sites.site_mut(site) else { return };
                dead.window.set_dead(until_ms);
                dead.reason = Rc::from(&*reason);
                site
            }
            SlotMessage::Alive { site } => {
                let Some(alive) = self.sites.site_mut(site) else { return };
                let settings = Rc::clone(&alive.settings);
                alive.window.revive(&settings);
                site
            }
        };
        self.place(site);
    }

    /// The shard stops: nothing more starts, and what it holds of other shards' sites goes back to them as soon as it
    /// is not in use.
    pub fn stop(&mut self, now_ms: u64) {
        self.timeline.observe(now_ms);
        self.stopping = true;
        for site in self.sites.handles() {
            self.place(site);
        }
    }

    /// A delivery of this site has ended; with the text of its connection or handshake trouble, if it had any.
    pub(super) fn slot_finished(&mut self, handle: SiteHandle, trouble: Option<&str>) {
        let mood = self.mood(handle);
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        if let Some(claim) = &mut site.claim {
            claim.finished(&mut site.queue, trouble, mood);
            return;
        }
        site.queue.finished();
        let (sent, failed) = if trouble.is_some() { (0, 1) } else { (1, 0) };
        let outcomes = Outcomes { sent, trouble: failed, returned: 1, reason: None };
        let dead_ms = self.settings.minimal_backoff_ms;
        let standing = site.window.done(&site.settings, &outcomes, now_ms, dead_ms);
        self.note_standing(handle, mood.dead, standing, trouble);
        self.slot_came_back(handle, true);
    }

    /// A rate delay is over, or a site's window had been closed for some time.
    pub(super) fn rate_delay_ends(&mut self, handle: SiteHandle) {
        // The timer may have been set for another shard that has closed the site since.
        let Some(site) = self.sites.site_mut(handle) else { return };
        if site.line == Line::Paused {
            site.line = Line::Busy;
        }
        self.place(handle);
    }

    /// Gives back what has had no work for its time.
    pub(super) fn end_lingering(&mut self) {
        let now_ms = self.timeline.now_ms();
        while let Some(&(until_ms, site)) = self.lingering.front() {
            if until_ms > now_ms {
                return;
            }
            self.lingering.pop_front();
            let Some(Site { claim: Some(claim), queue, .. }) = self.sites.site_mut(site) else { continue };
            claim.linger_ends(queue);
            self.place(site);
        }
    }

    /// An operator flushes, or another shard's operator does: if the site is dead it is to be tried again.
    pub(super) fn forget_death(&mut self, handle: SiteHandle) {
        let was_dead = self.mood(handle).dead;
        let site = self.sites.live(handle);
        let settings = Rc::clone(&site.settings);
        site.window.revive(&settings);
        match &mut site.claim {
            Some(claim) if was_dead => claim.revive(),
            Some(_) => {}
            None => self.note_standing(handle, was_dead, Standing::Open, None),
        }
        self.settle_slots(handle);
    }

    /// Brings what is between shards up to date with what happened here. Called by `place` for every event of a site.
    pub(super) fn settle_slots(&mut self, handle: SiteHandle) {
        let site = self.sites.live(handle);
        if site.claim.is_some() {
            return self.settle_claim(handle);
        }
        if site.is_gated() {
            self.settle_gate(handle);
        }
        if self.sites.live(handle).ledger.is_some() {
            self.settle_ledger(handle);
        }
    }

    fn settle_claim(&mut self, handle: SiteHandle) {
        let mood = self.mood(handle);
        let until_ms = self.timeline.now_ms() + LINGER_MS;
        let Site { claim: Some(claim), queue, .. } = self.sites.live(handle) else { return };
        let lingers = claim.settle(queue, mood);
        let has_news = claim.has_news(queue, mood);
        if lingers {
            self.lingering.push_back((until_ms, handle));
        }
        if has_news {
            self.sites.post_claim(handle);
        }
    }

    fn settle_ledger(&mut self, handle: SiteHandle) {
        let now_ms = self.timeline.now_ms();
        let stopping = self.stopping;
        let Site { ledger: Some(ledger), window, queue, settings, .. } = self.sites.live(handle) else {
            return;
        };
        let wanted = if stopping { queue.in_progress() } else { queue.wanted() };
        if settings.transport_rate_delay_ms == 0 {
            ledger.balance(window, settings, Own { held: queue.in_progress(), wanted }, now_ms);
        }
        if ledger.is_quiet() && wanted == 0 {
            window.forget_history(settings);
        }
        let opens_ms = window.closed_until_ms();
        if opens_ms > now_ms && opens_ms != ledger.timer_at_ms && ledger.has_waiting() {
            ledger.timer_at_ms = opens_ms;
            self.paused.push(Reverse((opens_ms, handle)));
        }
        self.sites.post_ledger(handle);
    }

    /// A shard has said what it needs of a site that has its home here. One that still asks for a dead site has
    /// missed its death, or its clock runs ahead.
    fn answer_need(&mut self, handle: SiteHandle, from: u16, deliveries: u32) {
        let dead = self.mood(handle).dead;
        let asks = self.ledger(handle).wants(from, deliveries);
        if asks && dead {
            self.ledger(handle).tell_standing_to(from);
        }
    }

    fn take_outcomes(&mut self, handle: SiteHandle, from: u16, outcomes: &Outcomes) {
        let was_dead = self.mood(handle).dead;
        let now_ms = self.timeline.now_ms();
        let dead_ms = self.settings.minimal_backoff_ms;
        self.ledger(handle).returned(from, outcomes);
        let home = self.sites.live(handle);
        let standing = home.window.done(&home.settings, outcomes, now_ms, dead_ms);
        self.note_standing(handle, was_dead, standing, outcomes.reason.as_deref());
    }

    /// After an event at a site's home: remembers why it died, and lets the other shards know that it did, or that it
    /// lives.
    fn note_standing(
        &mut self,
        handle: SiteHandle,
        was_dead: bool,
        standing: Standing,
        trouble: Option<&str>,
    ) {
        let is_dead = standing != Standing::Open;
        if was_dead == is_dead {
            return;
        }
        let site = self.sites.live(handle);
        if let (true, Some(reason)) = (is_dead, trouble) {
            site.reason = Rc::from(reason);
        }
        if let Some(ledger) = &mut site.ledger {
            ledger.tell_standing();
        }
    }

    fn say_of(
        &mut self,
        handle: SiteHandle,
        shard: u16,
        send: &mut impl FnMut(SlotMessage) -> Result<(), SlotMessage>,
    ) -> Result<(), SlotMessage> {
        let now_ms = self.timeline.now_ms();
        let stopping = self.stopping;
        let Some(site) = self.sites.site_mut(handle) else { return Ok(()) };
        let standing = site.window.standing(&site.settings, now_ms);
        if let Some(ledger) = &mut site.ledger {
            return ledger.say(shard, handle, standing, &site.reason, now_ms, send);
        }
        let Some(claim) = &mut site.claim else { return Ok(()) };
        let mood = Mood { dead: standing != Standing::Open, stopping };
        let names = (&*site.transport, &*site.nexthop);
        let may_be_forgotten = claim.say(&site.queue, handle, names, mood, send)?;
        claim.queued = false;
        if may_be_forgotten {
            self.sites.forget(handle);
        }
        Ok(())
    }

    pub(super) fn mood(&mut self, handle: SiteHandle) -> Mood {
        let now_ms = self.timeline.now_ms();
        let site = self.sites.live(handle);
        let dead = site.window.standing(&site.settings, now_ms) != Standing::Open;
        Mood { dead, stopping: self.stopping }
    }

    /// The account of a site of which another shard speaks: it is not forgotten before that has closed it.
    fn ledger(&mut self, handle: SiteHandle) -> &mut Ledger {
        let site = self.sites.site_mut(handle);
        site.and_then(|site| site.ledger.as_deref_mut()).expect("a shard speaks of sites that it has opened")
    }
}
