//! One request until it is answered: signing, sending, judging, waiting, trying again.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::StreamExt;
use object_store::client::{HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponseBody};
use reqwest::StatusCode;

use super::super::refusal::{Failure, judge, shorten};
use super::super::{StorageError, StorageErrorKind};
use super::body::chain;
use super::{Answer, Call, FIRST_CONTACT_ATTEMPTS, HttpStore, LONGEST_REFUSAL, Provider};

impl<P: Provider> HttpStore<P> {
    /// Sends a request until it is answered or the tries are used up. With `longest_body` the body is read too, and
    /// a body that breaks counts as a failed try.
    pub(super) async fn call(
        &self,
        call: &Call<'_>,
        longest_body: Option<usize>,
    ) -> Result<Answer, StorageError> {
        let mut attempt = 0;
        let mut lessons = 0;
        loop {
            attempt += 1;
            let failure = match self.attempt(call, longest_body, &mut lessons).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) => {
                    self.retries.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                Err(failure) => failure,
            };
            let unknown = failure.unconnected && !self.answered.load(Ordering::Relaxed);
            let attempts = if unknown {
                FIRST_CONTACT_ATTEMPTS.min(self.policy.attempts)
            } else {
                self.policy.attempts
            };
            if !failure.retryable || attempt >= attempts {
                return Err(self.error(call.operation, call.key, failure));
            }
            let delay = self.policy.delay(attempt, failure.server_wish);
            tracing::warn!(
                location = %self.location, key = call.key, attempt, ?delay,
                "could not {}: {}; trying again", call.operation, failure.message
            );
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(delay).await;
        }
    }

    /// One try. None: the provider learnt something, and the request should be sent again at once.
    async fn attempt(
        &self,
        call: &Call<'_>,
        longest_body: Option<usize>,
        lessons: &mut u32,
    ) -> Result<Option<Answer>, Failure> {
        let request = self.request(call).await?;
        let response = match tokio::time::timeout(self.policy.patience, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                let unconnected = error.kind() == HttpErrorKind::Connect;
                let text = format!("{}: {}", server(&call.url), chain(&error));
                let failure = Failure::passing(StorageErrorKind::Unreachable, text);
                return Err(Failure {
                    unconnected,
                    ..failure
                });
            }
            Err(_) => return Err(Failure::passing(StorageErrorKind::Unreachable, self.silence())),
        };
        self.answered.store(true, Ordering::Relaxed);
        let (parts, mut body) = response.into_parts();
        let outside = parts.status == StatusCode::RANGE_NOT_SATISFIABLE && longest_body.is_none();
        if parts.status.is_success() || outside {
            let mut whole = Bytes::new();
            if let Some(longest) = longest_body {
                let complete;
                (whole, complete) = self.read_body(body, longest).await?;
                if !complete {
                    let text = format!("the answer is longer than {longest} bytes");
                    return Err(Failure::lasting(StorageErrorKind::Other, text));
                }
                body = HttpResponseBody::from(Bytes::new());
            }
            return Ok(Some(Answer {
                status: parts.status,
                headers: parts.headers,
                whole,
                body,
            }));
        }
        if *lessons < 2 && self.provider.learn(parts.status, &parts.headers) {
            *lessons += 1;
            return Ok(None);
        }
        // Where even the refusal's text breaks off, the status still tells what matters.
        let body = self
            .read_body(body, LONGEST_REFUSAL)
            .await
            .map(|(body, _)| body)
            .unwrap_or_default();
        Err(judge(
            parts.status,
            &parts.headers,
            &body,
            call.operation != "list",
        ))
    }

    async fn request(&self, call: &Call<'_>) -> Result<HttpRequest, Failure> {
        let mut request = HttpRequest::new(HttpRequestBody::from(call.body.clone()));
        *request.method_mut() = call.method.clone();
        *request.uri_mut() = call.url.parse().map_err(|error| {
            Failure::lasting(
                StorageErrorKind::Other,
                format!("{} is no URL: {error}", call.url),
            )
        })?;
        for (name, value) in &call.headers {
            request.headers_mut().insert(name, value.clone());
        }
        match tokio::time::timeout(self.policy.patience * 2, self.provider.authorise(&mut request)).await {
            Ok(Ok(())) => Ok(request),
            Ok(Err(message)) => Err(Failure::lasting(
                StorageErrorKind::Unauthenticated,
                shorten(&message),
            )),
            Err(_) => Err(Failure::passing(
                StorageErrorKind::Unauthenticated,
                "the source of the credentials does not answer".to_owned(),
            )),
        }
    }

    /// The body up to `longest` bytes, and whether that was all of it.
    async fn read_body(&self, body: HttpResponseBody, longest: usize) -> Result<(Bytes, bool), Failure> {
        let mut chunks = body.bytes_stream();
        let mut whole = Vec::new();
        loop {
            match tokio::time::timeout(self.policy.patience, chunks.next()).await {
                Ok(None) => return Ok((whole.into(), true)),
                Ok(Some(Ok(chunk))) => {
                    let room = longest - whole.len();
                    whole.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        return Ok((whole.into(), false));
                    }
                }
                Ok(Some(Err(error))) => {
                    return Err(Failure::passing(StorageErrorKind::Unreachable, chain(&error)));
                }
                Err(_) => return Err(Failure::passing(StorageErrorKind::Unreachable, self.silence())),
            }
        }
    }

    fn silence(&self) -> String {
        format!(
            "the server has sent nothing for {} s",
            self.policy.patience.as_secs_f64()
        )
    }
}

/// Host and port of a URL: which server it was that did not answer.
fn server(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}
