//! Definitions as `feast apply` leaves them, written by the contract's field numbers (C2.3).
//!
//! Only what the suites vary. Where the messages go is in `registry.rs`.

use std::collections::BTreeMap;

use feast::{ValueType, ViewKind};

use crate::wire::{Message, timestamp};

mod service;

pub use service::{Part, Service};

/// When every view was created, unless a test says otherwise: 2023-12-01T00:00:00Z.
pub const CREATED_MICROS: i64 = 1_701_388_800_000_000;

/// A project's definitions.
#[derive(Clone, Debug)]
pub struct Project {
    /// Its name.
    pub name: String,
    /// Its views, in the registry's order.
    pub views: Vec<View>,
    /// Its feature services.
    pub services: Vec<Service>,
}

impl Project {
    /// A project of some views.
    #[must_use]
    pub fn new(name: &str, views: impl IntoIterator<Item = View>) -> Self {
        Self { name: name.to_owned(), views: views.into_iter().collect(), services: Vec::new() }
    }

    /// Adds a feature service of whole views or parts of them.
    #[must_use]
    pub fn service(self, name: &str, parts: &[(&str, &[&str])]) -> Self {
        self.service_of(name, parts.iter().map(|(view, features)| Part::new(view, features)))
    }

    /// Adds a feature service of parts that may have other names.
    #[must_use]
    pub fn service_of(mut self, name: &str, parts: impl IntoIterator<Item = Part>) -> Self {
        self.services.push(Service { name: name.to_owned(), parts: parts.into_iter().collect() });
        self
    }

    /// The entities that the views use, each once, by name and message.
    #[must_use]
    pub fn entities(&self) -> Vec<(String, Vec<u8>)> {
        let mut entities = vec![self.entity("__dummy", "__dummy_id", ValueType::String)];
        for view in &self.views {
            for (key, value_type) in &view.keys {
                let name = view.entity_name(key);
                if entities.iter().all(|(held, _)| *held != name) {
                    entities.push(self.entity(&name, key, *value_type));
                }
            }
        }
        entities
    }

    fn entity(&self, name: &str, join_key: &str, value_type: ValueType) -> (String, Vec<u8>) {
        let spec = Message::new()
            .text(1, name)
            .number(2, i64::from(value_type as i32))
            .text(4, join_key)
            .text(9, &self.name);
        (name.to_owned(), Message::new().message(1, &spec).into_bytes())
    }
}

/// A view of any kind, with a source of Parquet files.
#[derive(Clone, Debug)]
pub struct View {
    /// Its name.
    pub name: String,
    /// Which list of the registry it stands in.
    pub kind: ViewKind,
    /// Join keys and their types; empty without an entity.
    pub keys: Vec<(String, ValueType)>,
    /// Features and their types.
    pub features: Vec<(String, ValueType)>,
    /// Path of the source.
    pub path: String,
    /// Event time column.
    pub time_column: String,
    /// Created time column.
    pub created_column: Option<String>,
    /// Name of the push source by which its rows come as well.
    pub push_source: Option<String>,
    /// For an on-demand view: names and types of the values that a request gives it.
    pub request_fields: Vec<(String, ValueType)>,
    /// For an on-demand view: the views that it reads, with features and their types.
    pub inputs: Vec<(String, Vec<(String, ValueType)>)>,
    /// Names of entities by join key; `<join key>_entity` for those that are not here.
    pub entity_names: BTreeMap<String, String>,
    /// Tags.
    pub tags: Vec<(String, String)>,
    /// ttl; 0 for none.
    pub ttl_seconds: i64,
    /// Whether it goes to the online store.
    pub online: bool,
    /// Whether it is written back to the offline store.
    pub offline: bool,
    /// Whether it is switched off.
    pub disabled: bool,
    /// Whether a Python function transforms its rows.
    pub has_function: bool,
    /// Whether it joins other views.
    pub has_source_views: bool,
    /// When Feast created it.
    pub created_micros: i64,
    /// Feast's state; 2 is GENERATED, 4 is AVAILABLE_ONLINE.
    pub state: i64,
    /// Feast's materialization intervals, closed, in microseconds.
    pub intervals: Vec<(i64, i64)>,
}

impl View {
    /// An online view of one INT64 join key `id`, with event times in `ts`.
    #[must_use]
    pub fn new(name: &str, path: &str, features: &[(&str, ValueType)]) -> Self {
        Self {
            name: name.to_owned(),
            kind: ViewKind::Feature,
            keys: vec![("id".to_owned(), ValueType::Int64)],
            features: features.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
            path: path.to_owned(),
            time_column: "ts".to_owned(),
            created_column: None,
            push_source: None,
            request_fields: Vec::new(),
            inputs: Vec::new(),
            entity_names: BTreeMap::new(),
            tags: Vec::new(),
            ttl_seconds: 0,
            online: true,
            offline: false,
            disabled: false,
            has_function: false,
            has_source_views: false,
            created_micros: CREATED_MICROS,
            state: 2,
            intervals: Vec::new(),
        }
    }

    /// Adds a tag.
    #[must_use]
    pub fn tag(mut self, key: &str, value: &str) -> Self {
        self.tags.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Names the created time column.
    #[must_use]
    pub fn created(mut self, column: &str) -> Self {
        self.created_column = Some(column.to_owned());
        self
    }

    /// Sets the ttl.
    #[must_use]
    pub fn ttl(mut self, seconds: i64) -> Self {
        self.ttl_seconds = seconds;
        self
    }

    /// Names the push source by which rows come as well.
    #[must_use]
    pub fn pushed(mut self, source: &str) -> Self {
        self.push_source = Some(source.to_owned());
        self
    }

    /// The entity of a join key.
    fn entity_name(&self, join_key: &str) -> String {
        let name = self.entity_names.get(join_key);
        name.cloned().unwrap_or_else(|| format!("{join_key}_entity"))
    }

    /// Its message.
    #[must_use]
    pub fn encode(&self, project: &str) -> Vec<u8> {
        let spec = match self.kind {
            ViewKind::Stream => self.stream_spec(project),
            ViewKind::OnDemand => self.on_demand_spec(project),
            ViewKind::Feature | ViewKind::Label => self.feature_spec(project),
        };
        Message::new().message(1, &spec).message(2, &self.meta()).into_bytes()
    }

    fn feature_spec(&self, project: &str) -> Message {
        let mut spec = self.names(Message::new(), project, 3).number(8, i64::from(self.online));
        for (name, value_type) in &self.features {
            spec = spec.message(4, &field_spec(name, *value_type));
        }
        for (key, value) in &self.tags {
            spec = spec.entry(5, key, value);
        }
        if self.ttl_seconds != 0 {
            spec = spec.message(6, &Message::new().number(1, self.ttl_seconds));
        }
        spec = self.entity_columns(spec.message(7, &self.source(project)), 12);
        if let Some(source) = self.stream_source(project) {
            spec = spec.message(9, &source);
        }
        spec = spec.number(13, i64::from(self.offline)).number(20, i64::from(self.disabled));
        if self.has_source_views {
            spec = spec.message(14, &Message::new().text(1, "parent"));
        }
        if self.has_function {
            spec = spec.message(15, &Message::new().message(1, &Message::new().text(1, "f")));
        }
        spec
    }

    fn stream_spec(&self, project: &str) -> Message {
        let mut spec = self.names(Message::new(), project, 3).number(12, i64::from(self.online));
        for (name, value_type) in self.keys.iter().chain(&self.features) {
            spec = spec.message(4, &field_spec(name, *value_type));
        }
        for (key, value) in &self.tags {
            spec = spec.entry(7, key, value);
        }
        spec = self.entity_columns(spec, 5).message(10, &self.source(project));
        spec.number(23, i64::from(self.disabled))
    }

    fn on_demand_spec(&self, project: &str) -> Message {
        let mut spec = Message::new().text(1, &self.name).text(2, project);
        for (name, value_type) in &self.features {
            spec = spec.message(3, &field_spec(name, *value_type));
        }
        for (view, features) in &self.inputs {
            let mut projection = Message::new().text(1, view);
            for (name, value_type) in features {
                projection = projection.message(2, &field_spec(name, *value_type));
            }
            spec = spec.message(4, &map_entry(view, &Message::new().message(3, &projection)));
        }
        if let Some(request) = self.request_source(project) {
            let name = self.request_name();
            spec = spec.message(4, &map_entry(&name, &Message::new().message(2, &request)));
        }
        spec.text(11, "python")
            .number(12, i64::from(self.online))
            .number(19, i64::from(self.disabled))
    }

    /// Name, project and entities, which all kinds with a source have in the same places.
    fn names(&self, spec: Message, project: &str, entities: u32) -> Message {
        let mut spec = spec.text(1, &self.name).text(2, project);
        if self.keys.is_empty() {
            return spec.text(entities, "__dummy");
        }
        for (key, _) in &self.keys {
            spec = spec.text(entities, &self.entity_name(key));
        }
        spec
    }

    fn entity_columns(&self, mut spec: Message, field: u32) -> Message {
        if self.keys.is_empty() {
            return spec.message(field, &field_spec("__dummy_id", ValueType::String));
        }
        for (key, value_type) in &self.keys {
            spec = spec.message(field, &field_spec(key, *value_type));
        }
        spec
    }

    /// The messages of its sources: of files, by push, and by request.
    #[must_use]
    pub fn sources(&self, project: &str) -> Vec<Message> {
        let batch = (self.kind != ViewKind::OnDemand).then(|| self.source(project));
        let others = [self.stream_source(project), self.request_source(project)];
        batch.into_iter().chain(others.into_iter().flatten()).collect()
    }

    /// The batch source's message.
    fn source(&self, project: &str) -> Message {
        Message::new()
            .number(1, 1)
            .text(3, &self.time_column)
            .text(5, self.created_column.as_deref().unwrap_or_default())
            .message(11, &Message::new().text(2, &self.path))
            .text(20, &format!("{}_source", self.name))
            .text(21, project)
    }

    /// The push source's message, if there is one.
    fn stream_source(&self, project: &str) -> Option<Message> {
        const PUSH: i64 = 9;
        let name = self.push_source.as_deref()?;
        let source = Message::new().number(1, PUSH).text(20, name).text(21, project);
        Some(source.message(26, &self.source(project)))
    }

    /// The message of the source of what requests give, if they give anything.
    fn request_source(&self, project: &str) -> Option<Message> {
        const REQUEST: i64 = 7;
        let mut options = Message::new();
        for (name, value_type) in &self.request_fields {
            options = options.message(3, &field_spec(name, *value_type));
        }
        let source = Message::new().number(1, REQUEST).message(18, &options);
        let source = source.text(20, &self.request_name()).text(21, project);
        (!self.request_fields.is_empty()).then_some(source)
    }

    fn request_name(&self) -> String {
        format!("{}_request", self.name)
    }

    fn meta(&self) -> Message {
        let created = timestamp(self.created_micros);
        let mut meta = Message::new().message(1, &created).message(2, &created);
        for &(start, end) in &self.intervals {
            let interval = Message::new().message(1, &timestamp(start)).message(2, &timestamp(end));
            meta = meta.message(3, &interval);
        }
        meta.number(6, self.state)
    }
}

/// An entry of a map from text to a message.
fn map_entry(key: &str, value: &Message) -> Message {
    Message::new().text(1, key).message(2, value)
}

/// `FeatureSpecV2`.
fn field_spec(name: &str, value_type: ValueType) -> Message {
    Message::new().text(1, name).number(2, i64::from(value_type as i32))
}
