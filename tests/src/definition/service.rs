//! Feature services, and what they take from views.
//!
//! Apart from the views because only suites that serve features give parts other names.

use std::collections::BTreeMap;

use feast::ValueType;

use super::{Project, field_spec};
use crate::wire::Message;

/// A feature service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// What it takes from views, in order.
    pub parts: Vec<Part>,
}

impl Service {
    /// Its message.
    #[must_use]
    pub fn encode(&self, project: &Project) -> Vec<u8> {
        let mut spec = Message::new().text(1, &self.name).text(2, &project.name);
        for part in &self.parts {
            spec = spec.message(3, &part.projection(project));
        }
        Message::new().message(1, &spec).into_bytes()
    }
}

/// What a service or an on-demand view takes from a view: Feast's projection.
#[derive(Clone, Debug)]
pub struct Part {
    /// The view.
    pub view: String,
    /// Its features, in order.
    pub features: Vec<String>,
    /// The view's name in full feature names; its own when there is none.
    pub alias: Option<String>,
    /// Join key to the name under which a request has it.
    pub join_key_map: BTreeMap<String, String>,
}

impl Part {
    /// Some features of a view, under its own name.
    #[must_use]
    pub fn new(view: &str, features: &[&str]) -> Self {
        Self {
            view: view.to_owned(),
            features: features.iter().map(|&name| name.to_owned()).collect(),
            alias: None,
            join_key_map: BTreeMap::new(),
        }
    }

    /// Gives the view another name (`with_name`).
    #[must_use]
    pub fn named(mut self, alias: &str) -> Self {
        self.alias = Some(alias.to_owned());
        self
    }

    /// Gives a join key another name in requests (`with_join_key_map`).
    #[must_use]
    pub fn keyed(mut self, join_key: &str, name: &str) -> Self {
        self.join_key_map.insert(join_key.to_owned(), name.to_owned());
        self
    }

    fn projection(&self, project: &Project) -> Message {
        let mut projection = Message::new().text(1, &self.view);
        let view = project.views.iter().find(|view| view.name == self.view);
        for feature in &self.features {
            let field = view.and_then(|view| view.features.iter().find(|(f, _)| f == feature));
            let value_type = field.map_or(ValueType::Invalid, |(_, value_type)| *value_type);
            projection = projection.message(2, &field_spec(feature, value_type));
        }
        projection = projection.text(3, self.alias.as_deref().unwrap_or_default());
        for (key, name) in &self.join_key_map {
            projection = projection.entry(4, key, name);
        }
        projection
    }
}
