//! Reading every file again, when somebody asks (SIGHUP): the configuration, certificates, the keys of tokens.
//!
//! Whoever has files is a [`Part`] and hears of every request; [`Reload::all`] resolves once all have read
//! theirs, whatever came of it.

use tokio::sync::watch;

/// Asks all parts to read their files again, and knows which have.
#[derive(Debug)]
pub struct Reload {
    /// The number of the last request.
    asked: watch::Sender<u64>,
    /// Of each part the last request that it is done with.
    done: watch::Sender<Vec<u64>>,
}

/// One that has files.
#[derive(Debug)]
pub struct Part {
    index: usize,
    asked: watch::Receiver<u64>,
    done: watch::Sender<Vec<u64>>,
}

/// A request that a part has heard; dropped when its files have been read.
#[derive(Debug)]
#[must_use]
pub struct Asked {
    index: usize,
    number: u64,
    done: watch::Sender<Vec<u64>>,
}

impl Default for Reload {
    fn default() -> Self {
        Self { asked: watch::Sender::new(0), done: watch::Sender::default() }
    }
}

impl Reload {
    /// Asks all parts, without waiting for them.
    pub fn ask(&self) -> u64 {
        let mut number = 0;
        self.asked.send_modify(|last| {
            *last += 1;
            number = *last;
        });
        number
    }

    /// Asks all parts; what this gives resolves once they have read their files.
    pub fn all(&self) -> impl Future<Output = ()> + Send + use<> {
        let (number, mut done) = (self.ask(), self.done.subscribe());
        async move {
            // An error says that no part is left.
            let _ = done.wait_for(|done| done.iter().all(|n| *n >= number)).await;
        }
    }

    /// The number of the last request: changes with every one.
    pub fn asks(&self) -> watch::Receiver<u64> {
        self.asked.subscribe()
    }

    /// One more that has files; it is waited for until it is dropped. Of a request before it was there it
    /// hears, too: who asked may not know that it was late.
    pub fn part(&self) -> Part {
        let mut asked = self.asked.subscribe();
        if *asked.borrow() > 0 {
            asked.mark_changed();
        }
        let mut index = 0;
        self.done.send_modify(|done| {
            index = done.len();
            done.push(0);
        });
        Part { index, asked, done: self.done.clone() }
    }
}

impl Part {
    /// Resolves once somebody asks, or has asked since the last time.
    pub async fn asked(&mut self) -> Asked {
        if self.asked.changed().await.is_err() {
            // Nobody is left who could ask.
            std::future::pending::<()>().await;
        }
        let number = *self.asked.borrow_and_update();
        Asked { index: self.index, number, done: self.done.clone() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        done(&self.done, self.index, u64::MAX);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        done(&self.done, self.index, self.number);
    }
}

fn done(all: &watch::Sender<Vec<u64>>, index: usize, number: u64) {
    all.send_modify(|all| all[index] = all[index].max(number));
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn all_is_when_every_part_has_read() {
        let reload = Reload::default();
        reload.all().await;
        let (mut a, mut b) = (reload.part(), reload.part());
        let mut all = pin!(reload.all());
        assert!(all.as_mut().now_or_never().is_none());
        drop(a.asked().await);
        assert!(all.as_mut().now_or_never().is_none());
        let asked = b.asked().await;
        assert!(all.as_mut().now_or_never().is_none());
        drop(asked);
        assert!(all.as_mut().now_or_never().is_some());
        assert!(a.asked().now_or_never().is_none() && b.asked().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_request_during_a_reading_is_another_one() {
        let reload = Reload::default();
        let mut part = reload.part();
        let mut first = pin!(reload.all());
        assert!(first.as_mut().now_or_never().is_none());
        let reading = part.asked().await;
        let mut second = pin!(reload.all());
        assert!(second.as_mut().now_or_never().is_none());
        drop(reading);
        assert!(first.now_or_never().is_some());
        assert!(second.as_mut().now_or_never().is_none());
        drop(part.asked().await);
        assert!(second.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_comes_late_hears_of_it_too() {
        let reload = Reload::default();
        reload.ask();
        assert!(reload.part().asked().now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_is_gone_is_not_waited_for() {
        let reload = Reload::default();
        let part = reload.part();
        let mut all = pin!(reload.all());
        assert!(all.as_mut().now_or_never().is_none());
        drop(part);
        assert!(all.as_mut().now_or_never().is_some());
    }
}
