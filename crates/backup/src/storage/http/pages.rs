//! Listings: page after page, or several ranges of keys side by side.

use futures::stream::{self, BoxStream, FuturesUnordered, StreamExt, TryStreamExt};
use reqwest::Method;

use super::super::listing::Page;
use super::super::ranges::{Place, Question, Ranges, Unordered};
use super::super::refusal::{Failure, shorten};
use super::super::{ObjectMeta, StorageError, StorageErrorKind};
use super::{Bytes, Call, HttpStore, LONGEST_PAGE, Provider};

type Objects<'a> = BoxStream<'a, Result<ObjectMeta, StorageError>>;

impl<P: Provider> HttpStore<P> {
    /// In the provider's order.
    pub(super) fn one_by_one<'a>(&'a self, prefix: &'a str) -> Objects<'a> {
        stream::try_unfold(Some(Place::Start), move |place| async move {
            let Some(place) = place else {
                return Ok(None);
            };
            let page = self.page(prefix, &place).await?;
            let objects = stream::iter(page.objects.into_iter().map(Ok));
            Ok(Some((objects, page.next.map(Place::Token))))
        })
        .try_flatten()
        .boxed()
    }

    /// As the pages come.
    pub(super) fn side_by_side<'a>(&'a self, prefix: &'a str) -> Objects<'a> {
        let state = (Ranges::new(prefix), FuturesUnordered::new());
        stream::try_unfold(state, move |(mut ranges, mut under_way)| async move {
            while let Some(question) = ranges.ask() {
                under_way.push(self.answered(prefix, question));
            }
            let Some((question, page)) = under_way.next().await else {
                return Ok(None);
            };
            let page = page.map_err(|error: StorageError| match &question.place {
                // The listing could be begun: it is this place that the server does not take.
                Place::Behind(_) if !error.retryable => self.unordered(prefix, &error.message),
                _ => error,
            })?;
            let objects = ranges
                .answer(&question, page)
                .map_err(|Unordered(reason)| self.unordered(prefix, &reason))?;
            Ok(Some((
                stream::iter(objects.into_iter().map(Ok)),
                (ranges, under_way),
            )))
        })
        .try_flatten()
        .boxed()
    }

    async fn answered(&self, prefix: &str, question: Question) -> (Question, Result<Page, StorageError>) {
        let page = self.page(prefix, &question.place).await;
        (question, page)
    }

    fn unordered(&self, prefix: &str, reason: &str) -> StorageError {
        let message = format!("the store cannot be listed in ranges of keys: {reason}");
        let failure = Failure::lasting(StorageErrorKind::Unordered, shorten(&message));
        self.error("list", prefix, failure)
    }

    async fn page(&self, prefix: &str, place: &Place) -> Result<Page, StorageError> {
        let call = Call {
            operation: "list",
            key: prefix,
            method: Method::GET,
            url: self.provider.list_url(prefix, place),
            headers: Vec::new(),
            body: Bytes::new(),
        };
        let answer = self.call(&call, Some(LONGEST_PAGE)).await?;
        let page = self.provider.parse_page(&answer.whole).and_then(|page| {
            // A server that gives the same token again would be listed for ever.
            match (&page.next, place) {
                (Some(next), Place::Token(token)) if next == token => {
                    Err("the listing does not go on: the same page comes again".to_owned())
                }
                _ => Ok(page),
            }
        });
        page.map_err(|message| {
            self.error(
                "list",
                prefix,
                Failure::lasting(StorageErrorKind::Other, shorten(&message)),
            )
        })
    }
}
