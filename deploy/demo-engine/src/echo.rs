//! `pigeon.demo.v1.Echo`: gives back what it was given, and what the engine has seen.

use pigeon_proto::demo::v1::echo_server::Echo;
use pigeon_proto::demo::v1::{PingReply, PingRequest, StatsReply, StatsRequest};
use tonic::{Request, Response, Status};

use crate::script::Director;
use crate::stats::Stats;

/// The service.
pub(crate) struct EchoService {
    pub(crate) director: Director,
    pub(crate) stats: Stats,
}

#[tonic::async_trait]
impl Echo for EchoService {
    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingReply>, Status> {
        let script = self.director.script(request.metadata())?;
        script.begin().await?;
        script.proceed(0).await?;
        script.delay().await;
        // As with the other answer of one message, `demo-fail-after` counts what was heard.
        script.proceed(1).await?;
        let payload = request.into_inner().payload;
        Ok(Response::new(PingReply { payload, engine: self.director.engine.clone() }))
    }

    async fn stats(&self, request: Request<StatsRequest>) -> Result<Response<StatsReply>, Status> {
        let reset = request.into_inner().reset;
        Ok(Response::new(if reset { self.stats.take() } else { self.stats.read() }))
    }
}
