//! Which requests are calls of which methods: `google.api.http` where a method has it, else `POST /pkg.Svc/Method`.

use http::Method;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};

use super::message::Body;
use super::template::{Captures, Template};

const EXTENSION: &str = "google.api.http";

/// The rules of all methods that an engine has told of.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
}

/// A way to call a method.
#[derive(Clone, Debug)]
pub struct Rule {
    /// None: any.
    verb: Option<Method>,
    template: Template,
    /// Where the body goes.
    pub body: Body,
    /// The field that is the answer, if it is not all of it.
    pub response_body: Option<String>,
    /// The method.
    pub method: MethodDescriptor,
}

impl Rules {
    /// Of all methods of a pool. A rule that cannot be understood is left out, and told to `faulty`.
    pub fn of(pool: &DescriptorPool, mut faulty: impl FnMut(&MethodDescriptor, &str)) -> Self {
        let mut rules = Vec::new();
        for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let before = rules.len();
            for http in annotations(pool, &method) {
                match rule(&http, &method) {
                    Ok(rule) => rules.push(rule),
                    Err(why) => faulty(&method, &why),
                }
            }
            if rules.len() == before {
                rules.extend(unannotated(&method));
            }
        }
        rules.sort_by_key(|rule| (rule.template.vagueness(), rule.verb.is_none()));
        Self { rules }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rule for a request, and what its path says.
    ///
    /// # Errors
    /// The methods that the path could be asked with; none if it is nobody's.
    pub fn find(&self, method: &Method, path: &str) -> Result<(&Rule, Captures), Vec<&str>> {
        let mut others = Vec::new();
        for rule in &self.rules {
            let Some(captures) = rule.template.matches(path) else { continue };
            match &rule.verb {
                Some(verb) if verb != method => others.push(verb.as_str()),
                Some(_) | None => return Ok((rule, captures)),
            }
        }
        others.sort_unstable();
        others.dedup();
        Err(others)
    }
}

/// The rule of a method, and its additional bindings, which cannot have more of their own.
fn annotations(pool: &DescriptorPool, method: &MethodDescriptor) -> Vec<DynamicMessage> {
    let Some(extension) = pool.get_extension_by_name(EXTENSION) else { return Vec::new() };
    let options = method.options();
    if !options.has_extension(&extension) {
        return Vec::new();
    }
    let value = options.get_extension(&extension);
    let Some(http) = value.as_message() else { return Vec::new() };
    let more = http.get_field_by_name("additional_bindings");
    let more = more.as_deref().and_then(Value::as_list).unwrap_or_default();
    let more = more.iter().filter_map(Value::as_message).cloned();
    std::iter::once(http.clone()).chain(more).collect()
}

fn rule(http: &DynamicMessage, method: &MethodDescriptor) -> Result<Rule, String> {
    let (verb, path) = pattern(http).ok_or("it names no path")?;
    let template = Template::parse(&path).map_err(|why| format!("{path:?}: {why}"))?;
    let body = match text(http, "body").as_str() {
        "" => Body::None,
        "*" => Body::Whole,
        name if method.input().get_field_by_name(name).is_some() => Body::Field(name.to_owned()),
        name => return Err(format!("body: {} has no field {name:?}", method.input().full_name())),
    };
    let response_body = Some(text(http, "response_body")).filter(|name| !name.is_empty());
    if let Some(name) = &response_body
        && method.output().get_field_by_name(name).is_none()
    {
        let output = method.output();
        return Err(format!("response_body: {} has no field {name:?}", output.full_name()));
    }
    Ok(Rule { verb, template, body, response_body, method: method.clone() })
}

/// The HTTP method of a rule, None for any, and its path.
fn pattern(http: &DynamicMessage) -> Option<(Option<Method>, String)> {
    let verbs = [
        ("get", Method::GET),
        ("put", Method::PUT),
        ("post", Method::POST),
        ("delete", Method::DELETE),
        ("patch", Method::PATCH),
    ];
    for (name, verb) in verbs {
        let path = text(http, name);
        if !path.is_empty() {
            return Some((Some(verb), path));
        }
    }
    if !http.has_field_by_name("custom") {
        return None;
    }
    let custom = http.get_field_by_name("custom")?;
    let custom = custom.as_message()?;
    let verb = match text(custom, "kind").as_str() {
        "*" => None,
        kind => Some(Method::from_bytes(kind.as_bytes()).ok()?),
    };
    Some((verb, text(custom, "path")))
}

fn text(message: &DynamicMessage, field: &str) -> String {
    let value = message.get_field_by_name(field);
    value.as_deref().and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn unannotated(method: &MethodDescriptor) -> Option<Rule> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    Some(Rule {
        verb: Some(Method::POST),
        template: Template::parse(&path).ok()?,
        body: Body::Whole,
        response_body: None,
        method: method.clone(),
    })
}
