use super::*;
use futures::FutureExt;

fn budget() -> MemoryBudget {
    let budget = MemoryBudget::new(64 << 20);
    assert_eq!(budget.reserve(), 1 << 20);
    budget
}

const MIB: usize = 1 << 20;

#[test]
fn what_is_dropped_is_given_back() {
    let budget = budget();
    let partition = budget.partition();
    let source = partition.source();
    let mut charge = source.try_charge(1000).unwrap();
    charge.resize(5000);
    assert_eq!(budget.used(), 5000);
    charge.resize(10);
    charge.queue();
    let delivered = charge.deliver();
    assert_eq!(budget.used(), 10);
    drop((source, partition));
    assert_eq!((budget.used(), budget.partitions_now()), (10, 1));
    drop(delivered);
    assert_eq!((budget.used(), budget.partitions_now()), (0, 0));
    assert_eq!(budget.high_water(), 5000);
    drop(budget.hold(7000));
    assert_eq!((budget.used(), budget.high_water()), (0, 7000));
}

#[test]
fn borrowers_get_half_and_wait_in_their_order() {
    let budget = budget();
    let partition = budget.partition();
    let (first, second) = (partition.source(), partition.source());
    let held = first.try_charge(32 * MIB).unwrap();
    assert!(first.try_charge(1).is_none());
    let mut large = Box::pin(first.charge(20 * MIB));
    let mut small = Box::pin(second.charge(1));
    assert!((&mut large).now_or_never().is_none());
    assert!((&mut small).now_or_never().is_none());
    drop(held);
    // There is room for both now; and with only the large one waiting, a small one would not have passed it.
    let large = large.now_or_never().unwrap();
    assert_eq!(large.bytes(), 20 * MIB);
    assert_eq!(small.now_or_never().unwrap().bytes(), 1);
}

#[test]
fn the_object_that_was_opened_first_borrows_first() {
    let budget = budget();
    let partition = budget.partition();
    let (first, second) = (partition.source(), partition.source());
    let held = first.try_charge(32 * MIB).unwrap();
    let mut late = Box::pin(second.charge(20 * MIB));
    assert!((&mut late).now_or_never().is_none());
    let mut early = Box::pin(first.charge(20 * MIB));
    assert!((&mut early).now_or_never().is_none());
    drop(held);
    let early = early.now_or_never().unwrap();
    assert!((&mut late).now_or_never().is_none());
    drop(early);
    assert!(late.now_or_never().is_some());
}

#[test]
fn large_budgets_are_lent_step_by_step() {
    let budget = MemoryBudget::new(256 * MIB);
    let partition = budget.partition();
    let source = partition.source();
    let _first = source.try_charge(32 * MIB).unwrap();
    assert!(source.try_charge(1).is_none());
    let mut waiting = Box::pin(source.charge(40 * MIB));
    assert!((&mut waiting).now_or_never().is_none());
    budget.lend_more();
    assert!((&mut waiting).now_or_never().is_none());
    budget.lend_more();
    let _second = waiting.now_or_never().unwrap();
    budget.lend_more();
    assert!(source.try_charge(56 * MIB).is_some());
    assert!(source.try_charge(57 * MIB).is_none(), "never more than half");
}

#[test]
fn more_is_lent_where_more_threads_decode() {
    for (total, threads, lent) in [(256, 1, 32), (256, 2, 64), (256, 64, 128), (40, 4, 20)] {
        let budget = MemoryBudget::new(total * MIB);
        budget.lend_to_threads(threads);
        let partition = budget.partition();
        let source = partition.source();
        let charge = source.try_charge(lent * MIB);
        assert!(
            charge.is_some() && source.try_charge(1).is_none(),
            "{total} {threads}"
        );
    }
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    let budget = budget();
    let partition = budget.partition();
    let source = partition.source();
    let held = source.try_charge(32 * MIB).unwrap();
    let mut given_up = Box::pin(source.charge(MIB));
    assert!((&mut given_up).now_or_never().is_none());
    let mut granted_and_given_up = Box::pin(source.charge(MIB));
    assert!((&mut granted_and_given_up).now_or_never().is_none());
    drop(given_up);
    drop(held);
    assert_eq!(budget.used(), MIB, "granted, though nobody has looked yet");
    drop(granted_and_given_up);
    assert_eq!(budget.used(), 0);
    assert!(source.try_charge(32 * MIB).is_some());
}

#[test]
fn the_head_goes_on_when_all_is_borrowed() {
    let budget = budget();
    let partition = budget.partition();
    let (head, ahead) = (partition.source(), partition.source());
    let _borrowed = ahead.try_charge(32 * MIB).unwrap();
    let mut waiting = Box::pin(head.charge(2 * MIB));
    assert!((&mut waiting).now_or_never().is_none());
    head.promote();
    // More than the reserve, but it has nothing else to hand out.
    let mut block = waiting.now_or_never().unwrap();
    block.queue();
    let mut next = Box::pin(head.charge(MIB));
    assert!(
        (&mut next).now_or_never().is_none(),
        "has a block to hand out first"
    );
    let _delivered = block.deliver();
    assert!(
        next.now_or_never().is_some(),
        "what was handed out is not the head's concern"
    );
}

#[test]
fn a_merge_grows_once_borrowers_have_given_back_and_one_at_a_time() {
    let budget = budget();
    let (one, two) = (budget.partition(), budget.partition());
    let ahead = two.source();
    let borrowed = ahead.try_charge(20 * MIB).unwrap();
    let mut growth = Box::pin(one.grow(50 * MIB));
    assert!((&mut growth).now_or_never().is_none());
    assert!(
        ahead.try_charge(1).is_none(),
        "nobody borrows while a merge waits"
    );
    drop(borrowed);
    assert_eq!(growth.now_or_never(), Some(Ok(())));
    one.set_members(50);
    let mut other_growth = Box::pin(two.grow(2 * MIB));
    assert!((&mut other_growth).now_or_never().is_none());
    assert_eq!(
        one.grow(60 * MIB).now_or_never(),
        Some(Ok(())),
        "the one that has grown may go on"
    );
    one.set_members(1);
    assert_eq!(other_growth.now_or_never(), Some(Ok(())));
    assert_eq!(
        one.grow(64 * MIB).now_or_never(),
        Some(Err(TooMuch {
            bytes: 64 * MIB,
            most: 63 * MIB
        }))
    );
}

#[test]
fn members_of_a_large_merge_keep_to_their_share() {
    let budget = budget();
    let partition = budget.partition();
    let members: Vec<SourceAccount> = (0..16).map(|_| partition.source()).collect();
    members.iter().for_each(SourceAccount::promote);
    partition.set_members(16);
    assert_eq!(members[0].share(), MIB / 16);
    let mut first = members[0].charge(MIB / 16).now_or_never().unwrap();
    first.queue();
    assert!(members[0].charge(1).now_or_never().is_none());
    let ahead = members[1].try_charge(MIB / 32);
    assert!(ahead.is_some());
    assert!(
        members[1].try_charge(MIB / 32).is_none(),
        "half is for what cannot wait"
    );
}
