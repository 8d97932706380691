//! One listing as several, side by side: ranges of keys that split themselves. Sans I/O.
//!
//! The token of a page comes with the page before it, so one listing waits for page after page. Where a store can
//! begin behind a key, the rest of a long listing is cut at [`points`] into ranges (after, until], which are listed at
//! the same time; a range that goes on is cut again. A range that reaches the next one before that has begun takes it
//! over, so a point with nothing behind it costs nothing where it is reached in order.
//!
//! Nothing is believed of the store that it does not show. Within a range keys must ascend by the bytes of their
//! UTF-8, and must lie behind the range's beginning: so no key comes twice. The first key that a range meets behind its
//! end must be the one that the next range met first: so all ranges together are one unbroken listing, whatever the
//! store's order is. Where one of these fails, [`Ranges::answer`] says [`Unordered`], and the listing has to be made
//! again, one page after the other.

mod points;
#[cfg(test)]
mod tests;

use super::ObjectMeta;
use super::listing::Page;
use points::points;

/// Most pages of one listing that are asked for at the same time.
const MOST_UNDER_WAY: usize = 16;
/// A listing that ends within so many pages is never split: it costs what it always did.
const PAGES_BEFORE_SPLIT: u32 = 4;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the first key.
    Start,
    /// At the first key that is greater than this one, which need not exist.
    Behind(String),
    /// Where the page before ended.
    Token(String),
}

/// A page to ask for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) place: Place,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// The next page of this range.
    Range(u64),
    /// Whether this key is there.
    Key(String),
}

/// What the store does not do: list its keys in the order of their bytes, from any of them on.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unordered(pub(super) String);

/// The ranges of one listing, in the order of their keys.
#[derive(Debug)]
pub(super) struct Ranges {
    prefix: String,
    ranges: Vec<KeyRange>,
    /// Keys whose place is to be looked at again, each with the key behind which it must stand.
    doubts: Vec<(String, String)>,
    next_id: u64,
    ascending: bool,
    split: bool,
    /// Pages with objects that had not come before, and pages without.
    useful: usize,
    useless: usize,
    pages_before_split: u32,
    most_under_way: usize,
}

/// The keys in (after, until]. None is no limit.
#[derive(Debug)]
struct KeyRange {
    id: u64,
    after: Option<String>,
    until: Option<String>,
    progress: Progress,
    pages: u32,
    /// The first key that was met, also where it lies behind the range.
    first: Option<String>,
    last: Option<String>,
    /// The key that the range before met behind its end, while nothing has been met here.
    awaited: Option<String>,
    /// True once the listing of the range before is known to lead here.
    joined: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    /// Nothing has been asked for.
    New,
    /// The page at this token is next.
    Ready(String),
    UnderWay,
    Done,
}

impl KeyRange {
    fn new(id: u64, after: Option<String>, until: Option<String>) -> Self {
        let joined = after.is_none();
        Self {
            id,
            after,
            until,
            progress: Progress::New,
            pages: 0,
            first: None,
            last: None,
            awaited: None,
            joined,
        }
    }

    fn ends_before(&self, key: &str) -> bool {
        self.until.as_deref().is_some_and(|until| key > until)
    }

    /// The first key that does not ascend, with the key before it.
    fn descent<'a>(&'a self, objects: &'a [ObjectMeta]) -> Option<(&'a str, &'a str)> {
        let mut before = self.last.as_deref().or(self.after.as_deref());
        objects.iter().find_map(|object| {
            let key = object.key.as_str();
            let descent = before.filter(|before| *before >= key);
            before = Some(key);
            descent.map(|before| (before, key))
        })
    }
}

impl Ranges {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            ranges: vec![KeyRange::new(0, None, None)],
            doubts: Vec::new(),
            next_id: 1,
            ascending: true,
            split: false,
            useful: 0,
            useless: 0,
            pages_before_split: PAGES_BEFORE_SPLIT,
            most_under_way: MOST_UNDER_WAY,
        }
    }

    /// The next page that may be asked for now. The listing is complete where there is none and none is under way.
    pub(super) fn ask(&mut self) -> Option<Question> {
        if let Some((after, key)) = self.doubts.pop() {
            return Some(Question {
                place: Place::Behind(after),
                purpose: Purpose::Key(key),
            });
        }
        let ready = |range: &KeyRange| matches!(range.progress, Progress::Ready(_));
        let index = match self.ranges.iter().position(ready) {
            Some(index) => index,
            None if self.begun() < self.most() => self.middle_of_new()?,
            None => return None,
        };
        let range = &mut self.ranges[index];
        let place = match std::mem::replace(&mut range.progress, Progress::UnderWay) {
            Progress::Ready(token) => Place::Token(token),
            _ => range.after.clone().map_or(Place::Start, Place::Behind),
        };
        let purpose = Purpose::Range(range.id);
        Some(Question { place, purpose })
    }

    /// Takes the page that was asked for and gives the objects in it that have not come before.
    ///
    /// # Errors
    ///
    /// Where the store does not keep to the order of keys; what came so far is void then.
    pub(super) fn answer(&mut self, question: &Question, page: Page) -> Result<Vec<ObjectMeta>, Unordered> {
        match &question.purpose {
            Purpose::Range(id) => match self.ranges.iter().position(|range| range.id == *id) {
                Some(index) => self.take(index, page),
                None => Ok(Vec::new()),
            },
            // A key that was written meanwhile stands where it should; one that a listing cannot reach does not.
            Purpose::Key(key) if page.objects.iter().any(|object| object.key == *key) => Ok(Vec::new()),
            Purpose::Key(key) => Err(Unordered(format!("{key:?} is not listed where it should be"))),
        }
    }

    fn take(&mut self, index: usize, page: Page) -> Result<Vec<ObjectMeta>, Unordered> {
        let mut objects = page.objects;
        if let Some((before, key)) = self.ranges[index].descent(&objects) {
            if self.split {
                return Err(Unordered(format!("{key:?} is listed behind {before:?}")));
            }
            self.ascending = false;
        }
        let ends = objects.first().zip(objects.last());
        let ends = ends.map(|(first, last)| (first.key.clone(), last.key.clone()));
        let within = self.within(index, &objects);
        let beyond = objects.get(within).map(|object| object.key.clone());
        objects.truncate(within);

        *(if within > 0 {
            &mut self.useful
        } else {
            &mut self.useless
        }) += 1;
        let range = &mut self.ranges[index];
        range.pages += 1;
        if let Some((first, last)) = &ends {
            range.first.get_or_insert_with(|| first.clone());
            range.last = Some(last.clone());
        }
        let (id, goes_on) = (range.id, beyond.is_none() && page.next.is_some());
        range.progress = match page.next {
            Some(token) if beyond.is_none() => Progress::Ready(token),
            _ => Progress::Done,
        };
        self.settle(index);
        if let Some(key) = beyond {
            self.ranges[index + 1].awaited = Some(key);
            self.settle(index + 1);
        } else if !goes_on {
            // Nothing stands behind the end of a listing.
            while self.is_new(index + 1) {
                self.ranges.remove(index + 1);
            }
            if let Some(next) = self.ranges.get_mut(index + 1) {
                next.joined = true;
            }
        }
        self.ranges
            .retain(|range| range.progress != Progress::Done || !range.joined);
        if let Some((first, last)) = ends.filter(|_| goes_on) {
            self.split(id, &first, &last);
        }
        Ok(objects)
    }

    /// How many of the objects are within the range, which takes over the next ones where they have not begun.
    fn within(&mut self, index: usize, objects: &[ObjectMeta]) -> usize {
        for (count, object) in objects.iter().enumerate() {
            while self.ranges[index].ends_before(&object.key) {
                if !self.is_new(index + 1) {
                    return count;
                }
                self.ranges[index].until = self.ranges.remove(index + 1).until;
            }
        }
        objects.len()
    }

    /// Compares what was awaited of a range with what was met first, as soon as both are known.
    fn settle(&mut self, index: usize) {
        let range = &mut self.ranges[index];
        if range.first.is_none() && range.progress != Progress::Done {
            return;
        }
        let Some(key) = range.awaited.take() else {
            return;
        };
        range.joined = true;
        if range.first.as_ref() != Some(&key) {
            self.doubts.extend(range.after.clone().map(|after| (after, key)));
        }
    }

    fn split(&mut self, id: u64, first: &str, last: &str) {
        let Some(index) = self.ranges.iter().position(|range| range.id == id) else {
            return;
        };
        let range = &self.ranges[index];
        let early = range.after.is_none() && range.pages < self.pages_before_split;
        if early || !self.ascending || self.begun() + self.new_ones() >= self.most() {
            return;
        }
        let points = points(&self.prefix, first, last, range.until.as_deref());
        let mut until = self.ranges[index].until.take();
        let mut added = Vec::with_capacity(points.len());
        for point in points.into_iter().rev() {
            added.push(KeyRange::new(
                self.next_id,
                Some(point.clone()),
                until.replace(point),
            ));
            self.next_id += 1;
        }
        self.split |= !added.is_empty();
        self.ranges[index].until = until;
        self.ranges.splice(index + 1..index + 1, added.into_iter().rev());
    }

    /// How many ranges may be under way now. It grows with the pages that were of use, and pages that were not take it
    /// back: they never become many more than the others.
    fn most(&self) -> usize {
        let most = self.useful.saturating_sub(self.useless);
        most.clamp(1, self.most_under_way)
    }

    fn is_new(&self, index: usize) -> bool {
        let range = self.ranges.get(index);
        range.is_some_and(|range| range.progress == Progress::New)
    }

    fn new_ones(&self) -> usize {
        let new = |range: &&KeyRange| range.progress == Progress::New;
        self.ranges.iter().filter(new).count()
    }

    /// Ranges of which a page is under way or due.
    fn begun(&self) -> usize {
        let begun = |range: &&KeyRange| !matches!(range.progress, Progress::New | Progress::Done);
        self.ranges.iter().filter(begun).count()
    }

    /// The middle of the longest row of ranges that have not begun: as a search by halves it soon finds where the keys
    /// are, and the range before such a row takes over what lies between.
    fn middle_of_new(&self) -> Option<usize> {
        let (mut longest, mut middle, mut length) = (0, None, 0);
        for (index, range) in self.ranges.iter().enumerate() {
            length = if range.progress == Progress::New {
                length + 1
            } else {
                0
            };
            if length > longest {
                longest = length;
                middle = Some(index - (length - 1) / 2);
            }
        }
        middle
    }
}
