//! Views, entities and services: from messages to typed objects.

use std::time::Duration;

use prost::Message;

use super::{Error, message, source};
use crate::feature_view::{
    Entity, FeatureService, FeatureView, Field, JoinKey, ProjectionRef, Refusal, ViewKind,
};
use crate::value_type::ValueType;

/// The entity that Feast gives to views without one.
const DUMMY_ENTITY: &str = "__dummy";
/// Its join key.
const DUMMY_JOIN_KEY: &str = "__dummy_id";

/// What the kinds of views have in common, before it is checked.
struct Parts {
    kind: ViewKind,
    name: String,
    entities: Vec<String>,
    features: Vec<message::FeatureSpec>,
    entity_columns: Vec<message::FeatureSpec>,
    tags: std::collections::BTreeMap<String, String>,
    ttl: Option<message::Duration>,
    batch_source: Option<message::DataSource>,
    stream_source: Option<message::DataSource>,
    online: bool,
    disabled: bool,
    enable_validation: bool,
    version: String,
    meta: message::ViewMeta,
    /// Why the kind or the definition rules it out, if it does.
    refusal: Option<Refusal>,
}

/// Decodes a view of any kind.
pub(super) fn view(
    kind: ViewKind,
    bytes: &[u8],
    entities: &[Entity],
) -> Result<FeatureView, Error> {
    let parts = match kind {
        ViewKind::Feature => message::FeatureView::decode(bytes).map(feature_parts),
        ViewKind::Stream => message::StreamFeatureView::decode(bytes).map(stream_parts),
        ViewKind::OnDemand => message::OnDemandFeatureView::decode(bytes).map(on_demand_parts),
        ViewKind::Label => message::LabelView::decode(bytes).map(label_parts),
    };
    let what = match kind {
        ViewKind::Feature => "feature view",
        ViewKind::Stream => "stream feature view",
        ViewKind::OnDemand => "on-demand feature view",
        ViewKind::Label => "label view",
    };
    let parts = parts.map_err(|source| Error::Decode { what, name: name_of(bytes), source })?;
    Ok(typed(parts, entities))
}

/// The name of an object whose message as a whole cannot be read; empty when not even that can.
fn name_of(bytes: &[u8]) -> String {
    message::AnyView::decode(bytes).ok().and_then(|view| view.spec).unwrap_or_default().name
}

fn feature_parts(view: message::FeatureView) -> Parts {
    let spec = view.spec.unwrap_or_default();
    let refusal = if spec.feature_transformation.is_some() {
        Some(Refusal::Transformation)
    } else if !spec.source_views.is_empty() {
        Some(Refusal::SourceViews)
    } else if spec.offline {
        Some(Refusal::Offline)
    } else {
        None
    };
    Parts {
        kind: ViewKind::Feature,
        name: spec.name,
        entities: spec.entities,
        features: spec.features,
        entity_columns: spec.entity_columns,
        tags: spec.tags,
        ttl: spec.ttl,
        batch_source: spec.batch_source,
        stream_source: spec.stream_source,
        online: spec.online,
        disabled: spec.disabled,
        enable_validation: spec.enable_validation,
        version: spec.version,
        meta: view.meta.unwrap_or_default(),
        refusal,
    }
}

fn stream_parts(view: message::StreamFeatureView) -> Parts {
    let spec = view.spec.unwrap_or_default();
    let refusal = if spec.feature_transformation.is_some() || spec.user_defined_function.is_some() {
        Some(Refusal::Transformation)
    } else if !spec.aggregations.is_empty() {
        Some(Refusal::Aggregations)
    } else {
        None
    };
    Parts {
        kind: ViewKind::Stream,
        name: spec.name,
        entities: spec.entities,
        features: spec.features,
        entity_columns: spec.entity_columns,
        tags: spec.tags,
        ttl: spec.ttl,
        batch_source: spec.batch_source,
        stream_source: spec.stream_source,
        online: spec.online,
        disabled: spec.disabled,
        enable_validation: spec.enable_validation,
        version: spec.version,
        meta: view.meta.unwrap_or_default(),
        refusal,
    }
}

fn on_demand_parts(view: message::OnDemandFeatureView) -> Parts {
    let spec = view.spec.unwrap_or_default();
    let meta = view.meta.unwrap_or_default();
    Parts {
        kind: ViewKind::OnDemand,
        name: spec.name,
        entities: spec.entities,
        features: spec.features,
        entity_columns: spec.entity_columns,
        tags: Default::default(),
        ttl: None,
        batch_source: None,
        stream_source: None,
        online: spec.write_to_online_store,
        disabled: spec.disabled,
        enable_validation: false,
        version: spec.version,
        meta: message::ViewMeta {
            created_timestamp: meta.created_timestamp,
            current_version_number: meta.current_version_number,
            ..Default::default()
        },
        refusal: Some(Refusal::OnDemand),
    }
}

fn label_parts(view: message::LabelView) -> Parts {
    let spec = view.spec.unwrap_or_default();
    Parts {
        kind: ViewKind::Label,
        name: spec.name,
        entities: spec.entities,
        features: spec.features,
        entity_columns: spec.entity_columns,
        tags: spec.tags,
        ttl: None,
        batch_source: None,
        stream_source: None,
        online: spec.online,
        disabled: false,
        enable_validation: false,
        version: String::new(),
        meta: Default::default(),
        refusal: Some(Refusal::Label),
    }
}

fn typed(parts: Parts, entities: &[Entity]) -> FeatureView {
    let stream = parts.stream_source.as_ref();
    let batch = source::batch_source(parts.batch_source.as_ref(), stream);
    let is_entityless = is_entityless(&parts);
    let join_keys = if is_entityless { Ok(Vec::new()) } else { join_keys(&parts, entities) };
    let fields: Result<Vec<_>, _> = parts.features.iter().map(field).collect();
    let refusal = parts
        .refusal
        .clone()
        .or_else(|| source::refusal(batch))
        .or_else(|| join_keys.as_ref().err().cloned())
        .or_else(|| fields.as_ref().err().cloned());
    FeatureView {
        kind: parts.kind,
        features: fields.unwrap_or_default(),
        join_keys: join_keys.unwrap_or_default(),
        is_entityless,
        ttl: parts.ttl.and_then(ttl),
        field_mapping: source::field_mapping(batch, stream),
        push_source: source::push_source(stream),
        source: batch.map(source::typed).unwrap_or_default(),
        tags: parts.tags,
        online: parts.online,
        disabled: parts.disabled,
        enable_validation: parts.enable_validation,
        version: version(parts.meta.current_version_number, &parts.version),
        created_micros: parts.meta.created_timestamp.map(message::Timestamp::micros),
        materialization_intervals: parts.meta.intervals().collect(),
        name: parts.name,
        refusal,
    }
}

fn is_entityless(parts: &Parts) -> bool {
    let named = |name: &String| name == DUMMY_ENTITY;
    let no_entity = parts.entities.iter().all(named);
    no_entity && parts.entity_columns.iter().all(|column| column.name == DUMMY_JOIN_KEY)
}

/// The join keys by the view's entity columns, or, when it has none, by its entities.
fn join_keys(parts: &Parts, entities: &[Entity]) -> Result<Vec<JoinKey>, Refusal> {
    let columns = parts.entity_columns.iter().filter(|column| column.name != DUMMY_JOIN_KEY);
    let keys: Vec<JoinKey> = columns
        .map(|column| {
            let value_type = value_type("join key", column)?;
            Ok(JoinKey { name: column.name.clone(), value_type })
        })
        .collect::<Result<_, _>>()?;
    if !keys.is_empty() {
        return Ok(keys);
    }
    let names = parts.entities.iter().filter(|name| *name != DUMMY_ENTITY);
    names.map(|name| entity_join_key(name, entities)).collect()
}

fn entity_join_key(name: &str, entities: &[Entity]) -> Result<JoinKey, Refusal> {
    let entity = entities
        .iter()
        .find(|entity| entity.name == name)
        .ok_or_else(|| Refusal::Malformed(format!("its entity `{name}` is not in the registry")))?;
    let value_type = entity.value_type.ok_or_else(|| {
        Refusal::Malformed(format!(
            "neither it nor its entity `{name}` has a type for the join key"
        ))
    })?;
    Ok(JoinKey { name: entity.join_key.clone(), value_type })
}

fn field(spec: &message::FeatureSpec) -> Result<Field, Refusal> {
    Ok(Field {
        name: spec.name.clone(),
        value_type: value_type("feature", spec)?,
        vector_length: u32::try_from(spec.vector_length).unwrap_or(0),
        vector_index: spec.vector_index,
    })
}

fn value_type(what: &str, spec: &message::FeatureSpec) -> Result<ValueType, Refusal> {
    known_type(spec.value_type).ok_or_else(|| {
        let (name, code) = (&spec.name, spec.value_type);
        Refusal::Malformed(format!("its {what} `{name}` has value type code {code}"))
    })
}

/// The type of a code; `None` for the code that stands for no type and for unknown ones.
fn known_type(code: i32) -> Option<ValueType> {
    ValueType::from_code(code).filter(|kind| *kind != ValueType::Invalid)
}

/// A time to live; zero and below stand for none.
fn ttl(duration: message::Duration) -> Option<Duration> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u32::try_from(duration.nanos).ok()?;
    Some(Duration::from_secs(seconds) + Duration::from_nanos(u64::from(nanos)))
        .filter(|duration| !duration.is_zero())
}

/// The active version.
///
/// # Source
/// Feast 0.67 reads number 0 as "no version" unless the definition asks for one by name.
pub(super) fn version(number: i32, text: &str) -> Option<u32> {
    let is_latest = text.is_empty() || text.eq_ignore_ascii_case("latest");
    match u32::try_from(number) {
        Ok(0) | Err(_) if is_latest => None,
        Ok(number) => Some(number),
        Err(_) => None,
    }
}

/// Decodes an entity.
pub(super) fn entity(bytes: &[u8]) -> Result<Entity, Error> {
    let decoded = message::Entity::decode(bytes).map_err(|source| Error::Decode {
        what: "entity",
        name: name_of(bytes),
        source,
    })?;
    let spec = decoded.spec.unwrap_or_default();
    // Feast takes the entity's own name when it has no join key of another name.
    let join_key = source::non_empty(&spec.join_key).unwrap_or_else(|| spec.name.clone());
    Ok(Entity { name: spec.name, join_key, value_type: known_type(spec.value_type) })
}

/// Decodes a feature service.
pub(super) fn service(bytes: &[u8]) -> Result<FeatureService, Error> {
    let decoded = message::FeatureService::decode(bytes).map_err(|source| Error::Decode {
        what: "feature service",
        name: name_of(bytes),
        source,
    })?;
    let spec = decoded.spec.unwrap_or_default();
    Ok(FeatureService {
        name: spec.name,
        projections: spec.features.into_iter().map(projection).collect(),
        precompute_online: spec.precompute_online,
    })
}

fn projection(projection: message::Projection) -> ProjectionRef {
    ProjectionRef {
        view: projection.feature_view_name,
        alias: source::non_empty(&projection.feature_view_name_alias),
        features: projection.feature_columns.into_iter().map(|column| column.name).collect(),
        join_key_map: projection.join_key_map,
        version: projection.version_tag.and_then(|tag| u32::try_from(tag).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file_source() -> message::DataSource {
        message::DataSource {
            type_code: 1,
            timestamp_field: "ts".to_owned(),
            name: "src".to_owned(),
            file_options: Some(message::FileOptions { uri: "p".to_owned(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn column(name: &str, value_type: i32) -> message::FeatureSpec {
        message::FeatureSpec { name: name.to_owned(), value_type, ..Default::default() }
    }

    fn spec() -> message::FeatureViewSpec {
        message::FeatureViewSpec {
            name: "fv".to_owned(),
            entities: vec!["driver".to_owned()],
            features: vec![column("f", 4)],
            entity_columns: vec![column("id", 4)],
            batch_source: Some(file_source()),
            online: true,
            ..Default::default()
        }
    }

    fn converted(spec: message::FeatureViewSpec, entities: &[Entity]) -> FeatureView {
        let bytes = message::FeatureView { spec: Some(spec), meta: None }.encode_to_vec();
        view(ViewKind::Feature, &bytes, entities).expect("it is a view")
    }

    fn refusal(change: impl FnOnce(&mut message::FeatureViewSpec)) -> Option<Refusal> {
        let mut spec = spec();
        change(&mut spec);
        converted(spec, &[]).refusal
    }

    fn source_refusal(change: impl FnOnce(&mut message::DataSource)) -> String {
        let mut source = file_source();
        change(&mut source);
        match refusal(|spec| spec.batch_source = Some(source)) {
            Some(Refusal::Source { what, .. }) => what,
            other => panic!("the source must be refused, not {other:?}"),
        }
    }

    #[test]
    fn what_feast_alone_can_do_is_refused_with_its_reason() {
        assert_eq!(refusal(|_| {}), None);
        let set = Some(message::Opaque {});
        assert_eq!(
            refusal(|spec| spec.feature_transformation = set),
            Some(Refusal::Transformation)
        );
        assert_eq!(
            refusal(|spec| spec.source_views = vec![message::Opaque {}]),
            Some(Refusal::SourceViews)
        );
        assert_eq!(refusal(|spec| spec.offline = true), Some(Refusal::Offline));
    }

    #[test]
    fn sources_that_are_no_parquet_files_are_refused() {
        let delta = message::FileFormat { delta_format: Some(message::Opaque {}) };
        assert!(source_refusal(|source| source.type_code = 2).contains("type code is 2"));
        let class = "feast.infra.offline_stores.bigquery_source.BigQuerySource";
        let what = source_refusal(|source| {
            source.type_code = 2;
            source.class_type = class.to_owned();
        });
        assert!(what.contains(class), "{what}");
        let options = |source: &mut message::DataSource| {
            source.file_options.get_or_insert_default().file_format = Some(delta);
        };
        assert!(source_refusal(options).contains("Delta"));
        assert!(source_refusal(|source| source.file_options = None).contains("path"));
        let no_time = source_refusal(|source| source.timestamp_field.clear());
        assert!(no_time.contains("timestamp_field"), "{no_time}");
        let none = refusal(|spec| spec.batch_source = None);
        assert!(matches!(none, Some(Refusal::Malformed(_))), "{none:?}");
    }

    #[test]
    fn unknown_types_are_refused() {
        for code in [0, 9, 999] {
            let malformed = refusal(|spec| spec.features = vec![column("f", code)]);
            assert!(matches!(malformed, Some(Refusal::Malformed(_))), "{malformed:?}");
        }
    }

    #[test]
    fn stream_views_with_code_or_aggregations_are_refused() {
        let stream = |change: fn(&mut message::view::StreamFeatureViewSpec)| {
            let mut spec = message::view::StreamFeatureViewSpec {
                batch_source: Some(file_source()),
                ..Default::default()
            };
            change(&mut spec);
            let message = message::StreamFeatureView { spec: Some(spec), meta: None };
            view(ViewKind::Stream, &message.encode_to_vec(), &[]).expect("it is a view").refusal
        };
        assert_eq!(stream(|_| {}), None);
        let udf = stream(|spec| spec.user_defined_function = Some(message::Opaque {}));
        assert_eq!(udf, Some(Refusal::Transformation));
        let aggregated = stream(|spec| spec.aggregations = vec![message::Opaque {}]);
        assert_eq!(aggregated, Some(Refusal::Aggregations));
    }

    #[test]
    fn without_entity_columns_the_entities_tell_the_join_keys() {
        let driver = Entity {
            name: "driver".to_owned(),
            join_key: "driver_id".to_owned(),
            value_type: Some(ValueType::String),
        };
        let bare = || message::FeatureViewSpec { entity_columns: Vec::new(), ..spec() };
        let view = converted(bare(), std::slice::from_ref(&driver));
        let key = JoinKey { name: "driver_id".to_owned(), value_type: ValueType::String };
        assert_eq!((view.join_keys, view.refusal), (vec![key], None));
        for entities in [vec![], vec![Entity { value_type: None, ..driver }]] {
            let view = converted(bare(), &entities);
            assert!(matches!(view.refusal, Some(Refusal::Malformed(_))), "{:?}", view.refusal);
            assert!(!view.is_entityless);
        }
    }

    #[test]
    fn the_stream_sources_mapping_counts_unless_it_is_empty() {
        let mapping = |to: &str| [("x".to_owned(), to.to_owned())].into();
        let batch = message::DataSource { field_mapping: mapping("batch"), ..file_source() };
        let stream = message::DataSource { type_code: 9, ..Default::default() };
        let mapped = |stream| {
            let spec = message::FeatureViewSpec {
                batch_source: Some(batch.clone()),
                stream_source: stream,
                ..spec()
            };
            converted(spec, &[]).field_mapping["x"].clone()
        };
        assert_eq!(mapped(None), "batch");
        assert_eq!(mapped(Some(stream.clone())), "batch");
        let stream = message::DataSource { field_mapping: mapping("stream"), ..stream };
        assert_eq!(mapped(Some(stream)), "stream");
    }

    #[test]
    fn rows_are_pushed_into_a_stream_source_of_that_type_alone() {
        let source = |type_code| message::DataSource {
            type_code,
            name: "in".to_owned(),
            ..Default::default()
        };
        for (stream, expected) in [
            (None, None),
            (Some(source(9)), Some("in".to_owned())),
            (Some(source(3)), None),
            (Some(source(1)), None),
        ] {
            let spec = message::FeatureViewSpec { stream_source: stream.clone(), ..spec() };
            assert_eq!(converted(spec, &[]).push_source, expected);
            let spec = message::view::StreamFeatureViewSpec {
                batch_source: Some(file_source()),
                stream_source: stream,
                ..Default::default()
            };
            let message = message::StreamFeatureView { spec: Some(spec), meta: None };
            let view = view(ViewKind::Stream, &message.encode_to_vec(), &[]).expect("it is a view");
            assert_eq!(view.push_source, expected);
        }
    }

    #[test]
    fn versions_follow_feasts_rule() {
        for (number, text, expected) in [
            (0, "", None),
            (0, "latest", None),
            (0, "LATEST", None),
            (0, "v0", Some(0)),
            (0, "version0", Some(0)),
            (3, "latest", Some(3)),
            (3, "v3", Some(3)),
            (-1, "latest", None),
        ] {
            assert_eq!(version(number, text), expected, "{number} {text}");
        }
    }

    #[test]
    fn a_time_to_live_of_zero_is_none() {
        let ttl_of = |seconds, nanos| ttl(message::Duration { seconds, nanos });
        assert_eq!(ttl_of(0, 0), None);
        assert_eq!(ttl_of(-5, 0), None);
        assert_eq!(ttl_of(86_400, 500), Some(Duration::new(86_400, 500)));
    }

    #[test]
    fn bytes_that_are_no_view_are_an_error() {
        let error = view(ViewKind::Feature, b"\x0a\xff", &[]).expect_err("it is cut");
        assert!(matches!(error, Error::Decode { what: "feature view", .. }));
    }
}
