//! Definitions as `feast apply` leaves them, written by the contract's field numbers (C2.3).
//!
//! Only what the suites vary. Where the messages go is in `registry.rs`.

use feast::{ValueType, ViewKind};

use crate::wire::{Message, timestamp};

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
    pub fn service(mut self, name: &str, parts: &[(&str, &[&str])]) -> Self {
        let parts = parts.iter().map(|(view, features)| {
            ((*view).to_owned(), features.iter().map(|&name| name.to_owned()).collect())
        });
        self.services.push(Service { name: name.to_owned(), parts: parts.collect() });
        self
    }

    /// The entities that the views use, each once, by name and message.
    #[must_use]
    pub fn entities(&self) -> Vec<(String, Vec<u8>)> {
        let mut entities = vec![self.entity("__dummy", "__dummy_id", ValueType::String)];
        for (key, value_type) in self.views.iter().flat_map(|view| &view.keys) {
            let name = entity_name(key);
            if entities.iter().all(|(held, _)| *held != name) {
                entities.push(self.entity(&name, key, *value_type));
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

/// The entity of a join key.
fn entity_name(join_key: &str) -> String {
    format!("{join_key}_entity")
}

/// A feature service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// Views and the features taken from each, in order.
    pub parts: Vec<(String, Vec<String>)>,
}

impl Service {
    /// Its message.
    #[must_use]
    pub fn encode(&self, project: &Project) -> Vec<u8> {
        let mut spec = Message::new().text(1, &self.name).text(2, &project.name);
        for (name, features) in &self.parts {
            let mut projection = Message::new().text(1, name);
            let view = project.views.iter().find(|view| view.name == *name);
            for feature in features {
                let field = view.and_then(|view| view.features.iter().find(|(f, _)| f == feature));
                let value_type = field.map_or(ValueType::Invalid, |(_, value_type)| *value_type);
                projection = projection.message(2, &field_spec(feature, value_type));
            }
            spec = spec.message(3, &projection);
        }
        Message::new().message(1, &spec).into_bytes()
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
    /// Created time column.
    pub created_column: Option<String>,
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
            created_column: None,
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
            spec = spec.text(entities, &entity_name(key));
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

    /// The source's message.
    #[must_use]
    pub fn source(&self, project: &str) -> Message {
        Message::new()
            .number(1, 1)
            .text(3, "ts")
            .text(5, self.created_column.as_deref().unwrap_or_default())
            .message(11, &Message::new().text(2, &self.path))
            .text(20, &format!("{}_source", self.name))
            .text(21, project)
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

/// `FeatureSpecV2`.
fn field_spec(name: &str, value_type: ValueType) -> Message {
    Message::new().text(1, name).number(2, i64::from(value_type as i32))
}
