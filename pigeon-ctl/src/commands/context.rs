//! `context …`

use serde_json::{Value, json};

use super::{Desk, object};
use crate::Outcome;
use crate::context::{TokenPlace, file};
use crate::error::Exit;
use crate::output::table::cell;

pub(crate) fn list(desk: &Desk) -> Outcome {
    let (_, config) = desk.config()?;
    let item = |(name, context): (&String, &file::Context)| {
        let current = config.current.as_ref() == Some(name);
        json!({"name": name, "server": context.server, "token_file": context.token_file, "current": current})
    };
    let items: Vec<Value> = config.contexts.iter().map(item).collect();
    object::print_list(desk, items, ["CURRENT", "NAME", "SERVER", "TOKEN-FILE"], |context| {
        let current = if context["current"] == true { "*" } else { "" };
        let field = |name: &str| cell(context, name);
        [current.to_owned(), field("/name"), field("/server"), field("/token_file")]
    })
}

pub(crate) fn select(desk: &Desk, name: &str) -> Outcome {
    let (path, mut config) = desk.config()?;
    let server = config.context(name)?.1.server.clone();
    config.current = Some(name.to_owned());
    file::save(&path, &config)?;
    desk.out.done(&format!("context {name} selected   {server}")).map(|()| Exit::Done)
}

pub(crate) fn remove(desk: &Desk, name: &str) -> Outcome {
    let (path, mut config) = desk.config()?;
    let stored = file::token_path(&path, name);
    let removed = config.context(name)?.1.clone();
    config.contexts.remove(name);
    let was_current = config.current.as_deref() == Some(name);
    if was_current {
        config.current = None;
    }
    file::save(&path, &config)?;
    if removed.token_file.as_deref() == Some(stored.as_path()) {
        // Not being there any more is as good as being removed.
        let _ = std::fs::remove_file(&stored);
    }
    let rest = if was_current { "; no context is selected now" } else { "" };
    desk.out.done(&format!("context {name} removed{rest}")).map(|()| Exit::Done)
}

pub(crate) fn show(desk: &Desk) -> Outcome {
    let settings = desk.settings()?;
    let token = match &settings.token {
        TokenPlace::None => None,
        TokenPlace::Variable => Some("PIGEON_TOKEN".to_owned()),
        TokenPlace::File(path) => Some(path.display().to_string()),
    };
    let value = json!({
        "context": settings.context,
        "server": settings.server.to_string(),
        "server_from": settings.server_from.to_string(),
        "token": token,
        "token_from": token.as_ref().map(|_| settings.token_from.to_string()),
    });
    if !desk.out.value(&value)? {
        let none = || "none".to_owned();
        desk.out.text(&format!(
            "context  {}\nserver   {}   ({})\ntoken    {}\n",
            settings.context.clone().unwrap_or_else(none),
            settings.server,
            settings.server_from,
            token.map_or_else(none, |t| format!("{t}   ({})", settings.token_from)),
        ))?;
    }
    Ok(Exit::Done)
}
