//! From what a member has to what it is to have, in steps that its client follows.

use floe_planted::Bug;

use super::{Group, Member, Partitions, SavedMember};

/// How far a member has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// It has what it is to have.
    Stable,
    /// It has to let go of something first.
    Unrevoked,
    /// Others still have to let go of something.
    Unreleased,
    /// The group went on since it was last heard.
    Behind,
}

impl SavedMember {
    /// How far it has come, in a group of this epoch.
    pub(super) fn progress(&self, epoch: i32) -> Progress {
        if !self.revoking.is_empty() {
            Progress::Unrevoked
        } else if self.epoch != epoch {
            Progress::Behind
        } else if self.assigned == self.target {
            Progress::Stable
        } else {
            Progress::Unreleased
        }
    }
}

impl Group {
    /// Takes a member as far towards its target as its client and the others allow. `owned` is what its client says
    /// that it reads; `None` if it did not say so this time. `said` is the epoch it said, and may say again: the
    /// answer may be lost.
    pub(super) fn reconcile(&mut self, member_id: &str, owned: Option<&Partitions>, said: i32) {
        let (group_epoch, taken) = (self.epoch, &mut self.taken);
        let Some(Member {
            kept: member,
            deadline,
            ..
        }) = self.members.get_mut(member_id)
        else {
            return;
        };
        // Whether its client may still read any of these.
        let owns = |some: &Partitions| owned.is_none_or(|owned| !owned.is_disjoint(some));
        match member.progress(group_epoch) {
            Progress::Stable => return,
            Progress::Unrevoked if owns(&member.revoking) => return,
            Progress::Unrevoked => {
                for partition in std::mem::take(&mut member.revoking) {
                    taken.remove(&partition);
                }
                *deadline = None;
                member.epoch = (member.epoch + 1).min(group_epoch);
                member.previous_epoch = said;
                self.is_unsaved = true;
            }
            Progress::Unreleased | Progress::Behind => {}
        }
        let surplus: Partitions = member
            .assigned
            .difference(&member.target)
            .copied()
            .collect();
        if !surplus.is_empty() {
            self.is_unsaved = true;
            member.assigned.retain(|it| !surplus.contains(it));
            if owns(&surplus) && !Bug::PartitionGivenTwice.is_planted() {
                member.revoking = surplus;
                return;
            }
            for partition in &surplus {
                taken.remove(partition);
            }
        }
        let missing = member.target.difference(&member.assigned);
        let free: Partitions = missing.filter(|it| !taken.contains(it)).copied().collect();
        self.is_unsaved |= !free.is_empty() || member.epoch != group_epoch;
        taken.extend(&free);
        member.assigned.extend(free);
        if member.epoch != group_epoch {
            member.epoch = group_epoch;
            member.previous_epoch = said;
        }
    }

    /// Whether something that a member waits for was let go of.
    pub(super) fn waits_for_nobody(&self, member: &SavedMember) -> bool {
        let mut missing = member.target.difference(&member.assigned);
        missing.any(|partition| !self.taken.contains(partition))
    }
}
