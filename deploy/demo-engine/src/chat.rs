//! `pigeon.demo.v1.Chat`: says the words of the prompt again, one token each.

use std::time::Duration;

use futures_util::stream;
use pigeon_proto::demo::v1::chat_server::Chat;
use pigeon_proto::demo::v1::{Prompt, Token};
use tonic::{Request, Response, Status};

use crate::script::{Answers, Director};

/// About the pace of a language model, for a call that does not say otherwise.
const TOKEN_GAP: Duration = Duration::from_millis(20);

/// The service.
pub(crate) struct ChatService {
    pub(crate) director: Director,
}

#[tonic::async_trait]
impl Chat for ChatService {
    type GenerateStream = Answers<Token>;

    async fn generate(
        &self,
        request: Request<Prompt>,
    ) -> Result<Response<Self::GenerateStream>, Status> {
        let script = self.director.script(request.metadata())?;
        script.begin().await?;
        let tokens = stream::iter(tokens(&request.into_inner()).map(Ok));
        Ok(Response::new(script.play(TOKEN_GAP, tokens)))
    }
}

/// As many tokens as asked for, the words over and over if there are fewer; a prompt without words
/// gives empty tokens.
fn tokens(prompt: &Prompt) -> impl Iterator<Item = Token> + Send + use<> {
    let words: Vec<String> = prompt.text.split_whitespace().map(str::to_owned).collect();
    let count = match prompt.tokens {
        0 => u32::try_from(words.len()).unwrap_or(u32::MAX),
        count => count,
    };
    (0..count).map(move |index| {
        let word = words.get(index as usize % words.len().max(1));
        Token { text: word.cloned().unwrap_or_default(), index }
    })
}
