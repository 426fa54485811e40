//! A seeded workload over a memory disk, with a model of what must survive.
#![allow(dead_code, reason = "each test file uses its part")]

use ringpost_spool::{
    Content, LoadError, LoadedContent, MessageId, NewMessage, Spool, SpoolOptions, StoreError,
    disk::{LocalExecutor, MemoryDisk},
};
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// Small numbers, so that a short run rolls, seals, recycles and compacts.
pub fn small_options() -> SpoolOptions {
    let mut options = SpoolOptions::new(5);
    options.segment_bytes = 128 << 10;
    options.commit_bytes_max = 16 << 10;
    options.free_bytes_min = 0;
    options.spares_max = 3;
    options.slack_segments = 1;
    options.compaction_percent = 100;
    options
}

pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Content that only its id and length decide.
pub fn bytes_of(id: MessageId, length: usize) -> Vec<u8> {
    let mut random = Random(id.bits());
    (0..length).map(|_| random.next() as u8).collect()
}

/// What a message's changeable state is: due time, hold, forced expiry, notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    pub due_at_s: u32,
    pub held: bool,
    pub force_expired: bool,
    pub notes: Vec<Vec<u8>>,
}

/// One message in the model.
#[derive(Clone, Debug)]
pub struct Message {
    pub length: usize,
    /// The store resolved with Ok, or a recovery found the message.
    pub acknowledged: bool,
    /// Every state since the last one that is known durable, which is the first.
    pub views: Vec<View>,
    /// `remove` was said.
    pub removed: bool,
    /// ... and a barrier after it resolved, or a recovery found it gone.
    pub removed_durably: bool,
}

#[derive(Default)]
pub struct Model {
    pub messages: BTreeMap<MessageId, Message>,
}

impl Model {
    /// What a barrier would make durable: to be called before the barrier, applied after it.
    pub fn snapshot(&self) -> Vec<(MessageId, usize, bool)> {
        self.messages.iter().map(|(&id, message)| (id, message.views.len(), message.removed)).collect()
    }

    pub fn settle(&mut self, snapshot: Vec<(MessageId, usize, bool)>, dropped: &BTreeMap<MessageId, usize>) {
        for (id, views, removed) in snapshot {
            let message = self.messages.get_mut(&id).expect("the model forgets nothing");
            let already = dropped.get(&id).copied().unwrap_or(0);
            let settle = (views - 1).saturating_sub(already).min(message.views.len() - 1);
            message.views.drain(..settle);
            message.removed_durably |= removed;
        }
    }
}

/// Stores one message of `length` bytes, in chunks if it is long, and tells the model.
pub async fn store(
    spool: &Spool<MemoryDisk>,
    model: &RefCell<Model>,
    length: usize,
    held: bool,
) -> Result<MessageId, StoreError> {
    store_in(spool, model, length, held, (length > 8 << 10).then_some(5 << 10)).await
}

/// Stores one message of `length` bytes in two chunks, however short, and tells the model.
pub async fn store_in_chunks(spool: &Spool<MemoryDisk>, model: &RefCell<Model>, length: usize) -> MessageId {
    store_in(spool, model, length, false, Some(length.div_ceil(2))).await.expect("the disk works")
}

async fn store_in(
    spool: &Spool<MemoryDisk>,
    model: &RefCell<Model>,
    length: usize,
    held: bool,
    chunk_bytes: Option<usize>,
) -> Result<MessageId, StoreError> {
    let id = spool.new_id();
    let content = bytes_of(id, length);
    let view = View { due_at_s: 7, held, force_expired: false, notes: Vec::new() };
    let entry =
        Message { length, acknowledged: false, views: vec![view], removed: false, removed_durably: false };
    assert!(model.borrow_mut().messages.insert(id, entry).is_none(), "{id} was given out twice");
    let envelope = format!("envelope of {id}");
    // Every other chunked message has its envelope in chunks, too, and every fourth of them its content in the record.
    let in_chunks = chunk_bytes.is_some() && id.sequence().is_multiple_of(2);
    let chunk_bytes =
        chunk_bytes.filter(|_| !in_chunks || !id.sequence().is_multiple_of(4) || length > 8 << 10);
    let (envelope, rest) = envelope.split_at(if in_chunks { 8 } else { envelope.len() });
    let mut envelope_chunks = Vec::new();
    for piece in rest.as_bytes().chunks(7) {
        match spool.store_chunk(id, &[piece]).await {
            Ok(chunk) => envelope_chunks.push(chunk),
            Err(error) => {
                spool.abandon_chunks(envelope_chunks);
                return Err(error);
            }
        }
    }
    let (a, b) = content.split_at(length / 3);
    let pieces = [a, b];
    let content = if let Some(bytes) = chunk_bytes {
        let mut chunks = Vec::new();
        for piece in content.chunks(bytes) {
            match spool.store_chunk(id, &[piece]).await {
                Ok(chunk) => chunks.push(chunk),
                Err(error) => {
                    spool.abandon_chunks(chunks);
                    spool.abandon_chunks(envelope_chunks);
                    return Err(error);
                }
            }
        }
        Content::Chunked { chunks, total: length as u64 }
    } else {
        Content::Inline(&pieces)
    };
    let message = NewMessage {
        id,
        arrival_us: id.bits() + 1,
        due_at_s: 7,
        held,
        envelope: envelope.as_bytes(),
        envelope_chunks,
        content,
    };
    spool.store(message).await?;
    model.borrow_mut().messages.get_mut(&id).expect("inserted above").acknowledged = true;
    Ok(id)
}

/// One random change of one of the model's messages, or its removal.
pub fn change(spool: &Spool<MemoryDisk>, model: &RefCell<Model>, random: &mut Random, remove_percent: u64) {
    let mut model = model.borrow_mut();
    let alive: Vec<_> = model
        .messages
        .iter()
        .filter(|(_, message)| message.acknowledged && !message.removed)
        .map(|(&id, _)| id)
        .collect();
    if alive.is_empty() {
        return;
    }
    let id = alive[random.below(alive.len() as u64) as usize];
    let message = model.messages.get_mut(&id).expect("listed above");
    if random.below(100) < remove_percent {
        message.removed = true;
        spool.remove(id);
        return;
    }
    let mut view = message.views.last().expect("never empty").clone();
    let note = bytes_of(MessageId::from_bits(random.next()), random.below(300) as usize);
    match random.below(7) {
        6 => {
            view.force_expired = true;
            spool.force_expire(id);
        }
        0 => {
            view.held = true;
            spool.hold(id);
        }
        1 => {
            view.held = false;
            spool.release(id);
        }
        2 | 3 => {
            view.due_at_s = random.below(1 << 30) as u32;
            spool.retry(id, view.due_at_s, &note);
            view.notes = vec![note];
        }
        _ => {
            spool.outcome(id, &note);
            view.notes.push(note);
        }
    }
    message.views.push(view);
}

/// Reads one message back and checks it against the model. `Err` if it cannot be read.
pub async fn read(spool: &Spool<MemoryDisk>, id: MessageId, length: usize) -> Result<View, LoadError> {
    let loaded = spool.load(id).await?;
    let mut envelope = loaded.envelope.to_vec();
    for chunk in &loaded.envelope_chunks {
        envelope.extend_from_slice(&spool.read_chunk(chunk).await?);
    }
    assert_eq!(envelope, format!("envelope of {id}").as_bytes());
    assert_eq!(loaded.arrival_us, id.bits() + 1);
    let content = match loaded.content {
        LoadedContent::Inline(content) => content.to_vec(),
        LoadedContent::Chunked { chunks, total } => {
            let mut content = Vec::new();
            for chunk in &chunks {
                content.extend_from_slice(&spool.read_chunk(chunk).await?);
            }
            assert_eq!(content.len() as u64, total);
            content
        }
    };
    assert!(content == bytes_of(id, length), "{id}: the content is another");
    Ok(View {
        due_at_s: loaded.due_at_s,
        held: loaded.held,
        force_expired: loaded.force_expired,
        notes: loaded.notes.iter().map(|note| note.to_vec()).collect(),
    })
}

/// Opens the disk and runs the spool's loop beside the test.
pub fn open(disk: &MemoryDisk, options: SpoolOptions) -> (Spool<MemoryDisk>, LocalExecutor) {
    let executor = LocalExecutor::default();
    let spool = executor
        .block_on(disk, Spool::open(disk.clone(), options))
        .expect("opening does not hang")
        .expect("the disk works");
    let running = spool.clone();
    executor.spawn(async move { running.run().await });
    (spool, executor)
}

/// After a recovery: everything acknowledged is there and right, nothing removed is back. What was undecided before
/// is decided now.
pub fn check(
    spool: &Spool<MemoryDisk>,
    executor: &LocalExecutor,
    disk: &MemoryDisk,
    model: &Rc<RefCell<Model>>,
    what: &str,
) {
    let queued: BTreeMap<_, _> = spool.queued().map(|queued| (queued.id, queued)).collect();
    assert!(spool.corrupt().is_empty(), "{what}: a crash is no corruption: {:?}", spool.corrupt());
    for id in queued.keys() {
        assert!(model.borrow().messages.contains_key(id), "{what}: {id} was never stored");
    }
    let (spool, shared, what) = (spool.clone(), Rc::clone(model), what.to_owned());
    let checking = async move {
        let ids: Vec<_> = shared.borrow().messages.keys().copied().collect();
        for id in ids {
            let message = shared.borrow().messages[&id].clone();
            let Some(queued) = queued.get(&id) else {
                assert!(
                    !message.acknowledged || message.removed,
                    "{what}: acknowledged message {id} is lost"
                );
                let mut model = shared.borrow_mut();
                let message = model.messages.get_mut(&id).expect("listed above");
                message.removed = true;
                message.removed_durably = true;
                continue;
            };
            assert!(!message.removed_durably, "{what}: removed message {id} is back");
            let view = match read(&spool, id, message.length).await {
                Ok(view) => view,
                Err(error) => panic!("{what}: {error}"),
            };
            assert_eq!(
                (view.due_at_s, view.held, view.force_expired),
                (queued.due_at_s, queued.held, queued.force_expired),
                "{what}: {id}"
            );
            assert_eq!(queued.bytes, message.length as u64);
            assert!(
                message.views.contains(&view),
                "{what}: {id} has a state that it never had, or an old one: {view:?} of {:?}",
                message.views
            );
            let mut model = shared.borrow_mut();
            let message = model.messages.get_mut(&id).expect("listed above");
            message.views = vec![view];
            message.acknowledged = true;
            message.removed = false;
        }
    };
    executor.block_on(disk, checking).expect("reading does not hang");
}

/// Runs `producers` tasks of stores and changes on the spool; each barrier settles the model.
pub fn produce(
    spool: &Spool<MemoryDisk>,
    executor: &LocalExecutor,
    model: &Rc<RefCell<Model>>,
    seed: u64,
    producers: u64,
    rounds: u32,
    remove_percent: u64,
) -> Rc<std::cell::Cell<u64>> {
    let running = Rc::new(std::cell::Cell::new(producers));
    for producer in 0..producers {
        let (spool, model, running) = (spool.clone(), Rc::clone(model), Rc::clone(&running));
        executor.spawn(async move {
            let mut random = Random(seed.wrapping_mul(1000) + producer);
            for _ in 0..rounds {
                let length = match random.below(20) {
                    0 => 9000 + random.below(30_000),
                    1..=4 => 4000 + random.below(4000),
                    _ => random.below(1500),
                };
                let stored = store(&spool, &model, length as usize, random.below(10) == 0).await;
                if stored.is_err() {
                    spool_turn(&spool).await;
                }
                for _ in 0..random.below(4) {
                    change(&spool, &model, &mut random, remove_percent);
                }
                if random.below(8) == 0 && producer == 0 {
                    let snapshot = model.borrow().snapshot();
                    if spool.barrier().await.is_ok() {
                        model.borrow_mut().settle(snapshot, &BTreeMap::new());
                    }
                }
            }
            running.set(running.get() - 1);
        });
    }
    running
}

async fn spool_turn(_spool: &Spool<MemoryDisk>) {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
