//! Calls for engines that speak HTTP/1.1, and calls that are copied: handed to the general path, as if hyper had
//! read them.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version};
use http_body::{Body, Frame};
use tokio::task::AbortHandle;

use super::Relay;
use super::begin::Opened;
use super::call::{End, Side, Stage};
use super::list::List;
use super::refuse::fields;
use super::slab::Ref;
use super::state::State;
use crate::h2::error as code;
use crate::h2::fields::Fields;
use crate::http::{BrokenOff, CallBody, CallerBody, Chosen, call};

/// A call on the general path.
pub(super) struct Bridge {
    pub(super) task: AbortHandle,
    /// Waits for more of the request.
    body: Option<Waker>,
    /// Waits until the client has taken what there is of the answer.
    room: Option<Waker>,
}

impl Bridge {
    pub(super) fn wake_body(&mut self) {
        if let Some(waker) = self.body.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_room(&mut self) {
        if let Some(waker) = self.room.take() {
            waker.wake();
        }
    }
}

impl State {
    /// Hands a call over, with what was decided of it if its route is known.
    pub(super) fn bridge(&mut self, at: u32, opened: &Opened, chosen: Option<Chosen>) {
        let (Some(reference), Some(relay)) = (self.calls.reference(at), self.me.upgrade()) else {
            return;
        };
        let Some(call) = self.calls.get_mut(at) else { return };
        let length = call.head.request().and_then(|request| request.content_length);
        let body = RequestBody {
            relay: Arc::downgrade(&relay),
            call: reference,
            ended: opened.end,
            length: if opened.end { Some(0) } else { length },
        };
        let Some(mut request) = request(&call.head, body) else {
            self.remove(at, code::PROTOCOL_ERROR);
            return;
        };
        if let Some(chosen) = chosen {
            request.extensions_mut().insert(chosen);
        }
        let client = Arc::clone(&opened.client);
        let task = tokio::spawn(async move {
            let response = self::call(&client, request).await;
            carry(&relay, reference, response).await;
        });
        let bridge = Bridge { task: task.abort_handle(), body: None, room: None };
        call.stage = Stage::Bridge(Box::new(bridge));
    }

    fn bridged(&mut self, reference: Ref) -> Option<&mut Bridge> {
        match &mut self.calls.find(reference)?.stage {
            Stage::Bridge(bridge) => Some(bridge),
            _ => None,
        }
    }

    /// The next part of the request.
    fn poll_request(&mut self, reference: Ref, cx: &Context<'_>) -> Poll<Option<Part>> {
        let Some(bridge) = self.bridged(reference) else { return Poll::Ready(None) };
        bridge.body = Some(cx.waker().clone());
        let Some(call) = self.calls.find(reference) else { return Poll::Ready(None) };
        let Some(mut held) = call.held.take() else {
            return if call.request_ended { Poll::Ready(Some(Part::End)) } else { Poll::Pending };
        };
        if !held.left().is_empty() {
            let (bytes, owed) = (Bytes::copy_from_slice(held.left()), held.owed());
            call.held = held.end.take().map(|end| Box::new(end.into()));
            self.release(reference.at, Side::Down, owed, false);
            return Poll::Ready(Some(Part::Data(bytes)));
        }
        match held.end {
            Some(End::Trailers(list)) => Poll::Ready(Some(Part::Trailers(headers(&list.fields)))),
            Some(End::Plain) => Poll::Ready(Some(Part::End)),
            None => Poll::Pending,
        }
    }

    fn bridged_head(&mut self, reference: Ref, head: &http::response::Parts, end: bool) {
        let Some(call) = self.calls.find(reference) else { return };
        call.answered = true;
        let (conn, key) = (call.down.conn, call.down.key);
        self.send_fields(conn, key, &fields(Some(head.status.as_str()), &head.headers), end);
        if end {
            self.bridged_end(reference);
        }
    }

    fn bridged_data(&mut self, reference: Ref, bytes: &[u8], end: bool) {
        if self.bridged(reference).is_none() {
            return;
        }
        self.forward(reference.at, Side::Down, bytes, end, 0);
    }

    fn bridged_trailers(&mut self, reference: Ref, trailers: &HeaderMap) {
        if self.bridged(reference).is_some() {
            let list = List::read(0, &fields(None, trailers), super::list::Wanted::Trailers);
            self.forward_trailers(reference.at, Side::Down, &Arc::new(list));
        }
    }

    fn bridged_end(&mut self, reference: Ref) {
        if self.bridged(reference).is_some() {
            self.ended(reference.at, Side::Down);
        }
    }

    fn bridge_broke(&mut self, reference: Ref) {
        if self.bridged(reference).is_some() {
            self.remove(reference.at, code::INTERNAL_ERROR);
        }
    }

    /// Waits until everything so far is on its way to the client.
    fn poll_room(&mut self, reference: Ref, cx: &Context<'_>) -> Poll<()> {
        let Some(call) = self.calls.find(reference) else { return Poll::Ready(()) };
        if call.down.pending.is_none() {
            return Poll::Ready(());
        }
        if let Stage::Bridge(bridge) = &mut call.stage {
            bridge.room = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// Carries the answer back.
async fn carry(relay: &Arc<Relay>, call: Ref, response: Response<CallBody>) {
    let (head, body) = response.into_parts();
    let mut body = std::pin::pin!(body);
    let end = body.is_end_stream();
    relay.turn(|state| state.bridged_head(call, &head, end));
    if end {
        return;
    }
    loop {
        let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await;
        let Some(frame) = frame else { break };
        let Ok(frame) = frame else {
            relay.turn(|state| state.bridge_broke(call));
            return;
        };
        match frame.into_data() {
            Ok(bytes) => relay.turn(|state| state.bridged_data(call, &bytes, false)),
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    relay.turn(|state| state.bridged_trailers(call, &trailers));
                    return;
                }
            }
        }
        std::future::poll_fn(|cx| relay.turn(|state| state.poll_room(call, cx))).await;
    }
    relay.turn(|state| state.bridged_data(call, b"", true));
}

/// A part of a request.
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// The request's body, as the general path reads it.
struct RequestBody {
    relay: Weak<Relay>,
    call: Ref,
    ended: bool,
    length: Option<u64>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let Some(relay) = self.relay.upgrade() else {
            return Poll::Ready(Some(Err(BrokenOff::Gone)));
        };
        let call = self.call;
        let part = std::task::ready!(relay.turn(|state| state.poll_request(call, cx)));
        Poll::Ready(match part {
            Some(Part::Data(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Part::Trailers(trailers)) => {
                self.ended = true;
                Some(Ok(Frame::trailers(trailers)))
            }
            Some(Part::End) => {
                self.ended = true;
                None
            }
            None => Some(Err(BrokenOff::Gone)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length.map_or_else(http_body::SizeHint::new, http_body::SizeHint::with_exact)
    }
}

/// The request, as hyper would give it.
fn request(list: &List, body: RequestBody) -> Option<Request<CallerBody>> {
    let target = list.target();
    let authority = list.fields.get(b":authority").filter(|authority| !authority.is_empty());
    let uri: Uri = match authority.and_then(|authority| str::from_utf8(authority).ok()) {
        Some(authority) if target.starts_with('/') => {
            format!("http://{authority}{target}").parse().ok()?
        }
        _ => target.parse().ok()?,
    };
    let mut request = Request::new(CallerBody::Boxed(Box::pin(body)));
    *request.method_mut() = Method::from_bytes(list.method().as_bytes()).ok()?;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers(&list.fields);
    Some(request)
}

/// The fields that are not pseudo fields, as a map.
fn headers(fields: &Fields) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, value, _) in fields.iter().filter(|(name, ..)| !name.starts_with(b":")) {
        // What is no header was refused before.
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    headers
}
