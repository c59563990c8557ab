//! `/state` as a page for people: the same values as the JSON, as tables. No script, everything escaped.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The page's style, at a path of its own so that nothing on the page itself may have one.
pub(super) const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:1.5rem;color:#222;\
background:#fff}table{border-collapse:collapse;margin:.3rem 0 1rem}th,td{border:1px solid #ccc;\
padding:.15rem .5rem;text-align:left;vertical-align:top}th{background:#f3f3f3;font-weight:600}\
h2{margin:1.2rem 0 .2rem;font-size:1.05rem}@media(prefers-color-scheme:dark){body{color:#ddd;\
background:#181818}th{background:#2a2a2a}th,td{border-color:#444}}";

/// Nothing but the style.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How deep tables lie in tables.
const DEEPEST: usize = 6;

/// The page of a state.
pub(super) fn page(state: &Value) -> String {
    let name = state["name"].as_str().unwrap_or_default();
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{0}</title>\
         <link rel=\"stylesheet\" href=\"/state.css\"></head><body>\n<h1>{0}</h1>\n",
        Escaped(name)
    );
    if let Value::Object(map) = state {
        let nested = |value: &Value| value.is_object() || value.is_array();
        let (parts, facts): (Vec<_>, Vec<_>) = map.iter().partition(|(_, value)| nested(value));
        let facts: Map<_, _> = facts.into_iter().map(|(k, v)| (k.clone(), v.clone())).collect();
        value(&mut html, &Value::Object(facts), 0);
        for (key, part) in parts {
            // Writing to a string does not fail.
            let _ = writeln!(html, "<h2>{}</h2>", Escaped(&key.replace('_', " ")));
            value(&mut html, part, 0);
        }
    }
    html.push_str("</body></html>\n");
    html
}

fn value(html: &mut String, of: &Value, depth: usize) {
    let _ = match of {
        _ if depth > DEEPEST => write!(html, "…"),
        Value::Null => write!(html, "–"),
        Value::Bool(yes) => write!(html, "{}", if *yes { "yes" } else { "no" }),
        Value::Number(n) => write!(html, "{n}"),
        Value::String(text) => write!(html, "{}", Escaped(text)),
        Value::Array(all) if all.is_empty() => write!(html, "none"),
        Value::Object(map) if map.is_empty() => write!(html, "none"),
        Value::Array(all) => {
            list(html, all, depth);
            Ok(())
        }
        Value::Object(map) => {
            html.push_str("<table>");
            for (key, part) in map {
                let _ = write!(html, "<tr><th>{}</th><td>", Escaped(key));
                value(html, part, depth + 1);
                html.push_str("</td></tr>\n");
            }
            html.push_str("</table>\n");
            Ok(())
        }
    };
}

/// Objects alike become the rows of one table.
fn list(html: &mut String, all: &[Value], depth: usize) {
    html.push_str("<table>");
    if let Some(Value::Object(first)) = all.first() {
        html.push_str("<tr>");
        for key in first.keys() {
            let _ = write!(html, "<th>{}</th>", Escaped(&key.replace('_', " ")));
        }
        html.push_str("</tr>\n");
        for one in all {
            html.push_str("<tr>");
            for key in first.keys() {
                html.push_str("<td>");
                value(html, &one[key.as_str()], depth + 1);
                html.push_str("</td>");
            }
            html.push_str("</tr>\n");
        }
    } else {
        for one in all {
            html.push_str("<tr><td>");
            value(html, one, depth + 1);
            html.push_str("</td></tr>\n");
        }
    }
    html.push_str("</table>\n");
}

/// Text that is nothing but text, wherever on the page it stands.
struct Escaped<'t>(&'t str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        let nasty = "</td><script>alert('1')</script>\" onload=x &amp;";
        let state = json!({
            "name": nasty,
            nasty: nasty,
            "engines": { nasty: { "endpoints": [{ nasty: nasty }, { nasty: [nasty, null, true, 1.5] }] } },
        });
        let html = page(&state);
        assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
        assert!(!html.contains("\" onload"), "{html}");
        let tags: std::collections::BTreeSet<&str> =
            html.split('<').skip(1).filter_map(|rest| rest.split(['>', ' ']).next()).collect();
        let known = [
            "!doctype", "/body", "/h1", "/h2", "/head", "/html", "/table", "/td", "/th", "/title",
            "/tr", "body", "h1", "h2", "head", "html", "link", "meta", "table", "td", "th",
            "title", "tr",
        ];
        assert!(tags.iter().all(|tag| known.contains(tag)), "{tags:?}");
    }
}
