//! All objects of one project, and what follows from seeing them together.

use prost::Message;

use super::{Error, convert, message, wire};
use crate::feature_view::{Entity, FeatureService, FeatureView, Refusal, ViewKind};

/// Numbers of the lists in a registry file.
pub(super) mod list {
    pub(crate) const ENTITIES: u32 = 1;
    pub(crate) const VERSION_ID: u32 = 4;
    pub(crate) const LAST_UPDATED: u32 = 5;
    pub(crate) const FEATURE_VIEWS: u32 = 6;
    pub(crate) const FEATURE_SERVICES: u32 = 7;
    pub(crate) const ON_DEMAND_FEATURE_VIEWS: u32 = 8;
    pub(crate) const STREAM_FEATURE_VIEWS: u32 = 14;
    pub(crate) const HISTORY: u32 = 18;
    pub(crate) const LABEL_VIEWS: u32 = 19;
}

/// In the order in which Feast walks them.
const VIEW_LISTS: [(ViewKind, u32); 4] = [
    (ViewKind::Feature, list::FEATURE_VIEWS),
    (ViewKind::Stream, list::STREAM_FEATURE_VIEWS),
    (ViewKind::OnDemand, list::ON_DEMAND_FEATURE_VIEWS),
    (ViewKind::Label, list::LABEL_VIEWS),
];

/// The number of a kind's list in a registry file.
pub(super) fn view_list(kind: ViewKind) -> u32 {
    match kind {
        ViewKind::Feature => list::FEATURE_VIEWS,
        ViewKind::Stream => list::STREAM_FEATURE_VIEWS,
        ViewKind::OnDemand => list::ON_DEMAND_FEATURE_VIEWS,
        ViewKind::Label => list::LABEL_VIEWS,
    }
}

/// The messages of one project, as a registry holds them.
#[derive(Clone, Debug, Default)]
pub struct RawObjects {
    /// Views, of all kinds, in the registry's order.
    pub views: Vec<(ViewKind, Vec<u8>)>,
    /// Entities.
    pub entities: Vec<Vec<u8>>,
    /// Feature services.
    pub services: Vec<Vec<u8>>,
}

/// All objects of one project at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Views in the order in which Feast walks them: feature views, stream feature views,
    /// on-demand feature views, label views; inside a kind in the registry's order.
    pub views: Vec<FeatureView>,
    /// Entities, Feast's dummy among them.
    pub entities: Vec<Entity>,
    /// Feature services.
    pub services: Vec<FeatureService>,
}

impl Snapshot {
    /// Decodes the objects of one project.
    ///
    /// # Errors
    /// `Error::Decode` for the first object whose bytes are no message of its kind.
    pub fn decode(raw: &RawObjects) -> Result<Self, Error> {
        let entities = decode_all(&raw.entities, convert::entity)?;
        let services = decode_all(&raw.services, convert::service)?;
        let mut views = Vec::with_capacity(raw.views.len());
        for (kind, _) in VIEW_LISTS {
            for (_, bytes) in raw.views.iter().filter(|(other, _)| *other == kind) {
                let mut view = convert::view(kind, bytes, &entities)?;
                refuse_precomputed(&mut view, &services);
                views.push(view);
            }
        }
        Ok(Self { views, entities, services })
    }

    /// Decodes the objects of one project out of a registry file.
    ///
    /// # Errors
    /// `Error::File` when the bytes are no registry, else as `decode`.
    pub fn from_file(registry: &[u8], project: &str) -> Result<Self, Error> {
        Self::decode(&raw_objects(registry, project)?)
    }

    /// The view of a name, looked up in Feast's order.
    pub fn view(&self, name: &str) -> Option<&FeatureView> {
        self.views.iter().find(|view| view.name == name)
    }
}

fn decode_all<T>(
    raw: &[Vec<u8>],
    decode: impl Fn(&[u8]) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    raw.iter().map(|bytes| decode(bytes)).collect()
}

/// Refuses a view whose rows a service keeps a precomputed copy of.
fn refuse_precomputed(view: &mut FeatureView, services: &[FeatureService]) {
    let uses = |service: &&FeatureService| {
        service.precompute_online
            && service.projections.iter().any(|projection| projection.view == view.name)
    };
    if view.refusal.is_none() {
        view.refusal = services
            .iter()
            .find(uses)
            .map(|service| Refusal::PrecomputeOnline { service: service.name.clone() });
    }
}

/// Tells whether the bytes are a whole registry file, and not one that is being rewritten.
///
/// Feast truncates the file and writes it again, so a reader may meet it empty or cut.
pub fn file_is_whole(registry: &[u8]) -> bool {
    !registry.is_empty() && wire::fields(registry).is_ok()
}

fn raw_objects(registry: &[u8], project: &str) -> Result<RawObjects, Error> {
    let mut raw = RawObjects::default();
    for field in wire::fields(registry).map_err(Error::File)? {
        let payload = field.payload;
        match field.number {
            list::ENTITIES => {
                if entity_project(payload)? == project {
                    raw.entities.push(payload.to_vec());
                }
            }
            list::FEATURE_SERVICES => {
                if spec_of("feature service", payload)?.project == project {
                    raw.services.push(payload.to_vec());
                }
            }
            number => {
                let kind = VIEW_LISTS.iter().find(|(_, list)| *list == number);
                if let Some((kind, _)) = kind
                    && spec_of("view", payload)?.project == project
                {
                    raw.views.push((*kind, payload.to_vec()));
                }
            }
        }
    }
    Ok(raw)
}

/// Name and project of a view or service.
pub(super) fn spec_of(what: &'static str, bytes: &[u8]) -> Result<message::AnyViewSpec, Error> {
    let failed = |source| Error::Decode { what, name: String::new(), source };
    Ok(message::AnyView::decode(bytes).map_err(failed)?.spec.unwrap_or_default())
}

fn entity_project(bytes: &[u8]) -> Result<String, Error> {
    let failed = |source| Error::Decode { what: "entity", name: String::new(), source };
    Ok(message::Entity::decode(bytes).map_err(failed)?.spec.unwrap_or_default().project)
}

/// Decodes a view out of the version history.
///
/// `raw` holds the project's entities and services as they are now; `view_type` is the history's
/// own word for the kind.
///
/// # Errors
/// `Error::HistoryType` for an unknown kind, `Error::Decode` for bytes that are no such view.
pub fn view_in_history(
    view_type: &str,
    bytes: &[u8],
    version: u32,
    raw: &RawObjects,
) -> Result<FeatureView, Error> {
    let kind = match view_type {
        "feature_view" => ViewKind::Feature,
        "stream_feature_view" => ViewKind::Stream,
        "on_demand_feature_view" => ViewKind::OnDemand,
        "label_view" => ViewKind::Label,
        other => {
            let view_type = other.to_owned();
            return Err(Error::HistoryType {
                view: spec_of("view", bytes)?.name,
                version,
                view_type,
            });
        }
    };
    let entities = decode_all(&raw.entities, convert::entity)?;
    let services = decode_all(&raw.services, convert::service)?;
    let mut view = convert::view(kind, bytes, &entities)?;
    view.version = Some(version);
    refuse_precomputed(&mut view, &services);
    Ok(view)
}

/// Decodes a view out of the version history of a registry file; `None` when it has no such
/// version.
///
/// # Errors
/// As [`view_in_history`], and `Error::File` when the bytes are no registry.
pub fn view_in_file_history(
    registry: &[u8],
    project: &str,
    name: &str,
    version: u32,
) -> Result<Option<FeatureView>, Error> {
    let fields = wire::fields(registry).map_err(Error::File)?;
    for field in fields.iter().filter(|field| field.number == list::HISTORY) {
        let history = message::History::decode(field.payload).map_err(Error::File)?;
        let record = history.records.iter().find(|record| {
            record.project_id == project
                && record.feature_view_name == name
                && u32::try_from(record.version_number) == Ok(version)
        });
        if let Some(record) = record {
            let raw = raw_objects(registry, project)?;
            let bytes = &record.feature_view_proto;
            return view_in_history(&record.feature_view_type, bytes, version, &raw).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature_view::{Field, JoinKey};
    use crate::value_type::ValueType;

    macro_rules! golden {
        ($name:literal) => {
            include_bytes!(concat!("../../testdata/registry/", $name, ".db")).as_slice()
        };
    }

    fn snapshot(file: &[u8]) -> Snapshot {
        Snapshot::from_file(file, "proj").expect("Feast wrote it")
    }

    fn only_view(file: &[u8]) -> FeatureView {
        let mut views = snapshot(file).views;
        assert_eq!(views.len(), 1);
        views.remove(0)
    }

    fn int64(name: &str) -> Field {
        Field {
            name: name.to_owned(),
            value_type: ValueType::Int64,
            vector_length: 0,
            vector_index: false,
        }
    }

    fn id_key() -> JoinKey {
        JoinKey { name: "id".to_owned(), value_type: ValueType::Int64 }
    }

    #[test]
    fn a_view_without_entity_has_no_join_keys() {
        let view = only_view(golden!("entityless_after"));
        assert!(view.is_entityless && view.join_keys.is_empty());
        assert_eq!(view.features, [int64("f")]);
        assert_eq!(view.ttl, None);
        assert_eq!(view.version, None);
        assert_eq!(view.created_micros, Some(1_795_427_747_131_218));
        assert_eq!(
            view.materialization_intervals,
            [(1_672_531_200_000_000, 1_735_689_600_000_000)]
        );
        assert_eq!(view.refusal, None);
        assert!(view.online && !view.disabled);
    }

    #[test]
    fn a_stream_view_has_its_join_keys_among_its_features() {
        let view = only_view(golden!("stream_view_after"));
        assert_eq!(view.kind, ViewKind::Stream);
        assert_eq!(view.join_keys, [id_key()]);
        assert_eq!(view.features, [int64("id"), int64("f")]);
        assert_eq!((view.source.name.as_str(), view.source.type_code), ("src", 1));
        assert_eq!(view.source.path, "data/d.parquet");
        assert_eq!(view.source.timestamp_field, "ts");
        assert_eq!(view.refusal, None);
        assert!(view.online);
    }

    #[test]
    fn a_push_source_stands_for_its_batch_source() {
        let view = only_view(golden!("push_source_view_before"));
        assert_eq!(view.kind, ViewKind::Feature);
        assert_eq!((view.source.name.as_str(), view.source.type_code), ("src", 1));
        assert_eq!(view.push_source.as_deref(), Some("p"));
        assert_eq!(view.refusal, None);
        assert!(view.materialization_intervals.is_empty());
    }

    #[test]
    fn a_batch_view_without_function_is_a_plain_view() {
        let view = only_view(golden!("batch_view_before"));
        assert_eq!((view.kind, view.refusal), (ViewKind::Feature, None));
        assert_eq!(view.ttl, None);
    }

    #[test]
    fn field_mappings_are_read() {
        let view = only_view(golden!("field_mapping_before"));
        let expected = [("c_src", "created"), ("f_src", "f"), ("k_src", "id"), ("ts_src", "ts")];
        let expected = expected.map(|(source, name)| (source.to_owned(), name.to_owned()));
        assert_eq!(view.field_mapping, expected.into());
        assert_eq!(view.source.created_timestamp_column.as_deref(), Some("created"));
        let entity = snapshot(golden!("field_mapping_before")).entities.swap_remove(0);
        let join_key = "id".to_owned();
        let value_type = Some(ValueType::Int64);
        assert_eq!(entity, Entity { name: "id_ent".to_owned(), join_key, value_type });
    }

    #[test]
    fn versions_are_read_from_the_history() {
        let file = golden!("versioned_after");
        let active = only_view(file);
        assert_eq!(active.version, Some(1));
        assert_eq!(active.storage_name(true), "fv_v1");
        let version =
            |number| view_in_file_history(file, "proj", "fv", number).expect("Feast wrote it");
        let first = version(0).expect("it is version 0");
        assert_eq!((first.version, first.features), (Some(0), vec![int64("f")]));
        assert!(first.materialization_intervals.is_empty());
        let second = version(1).expect("it is version 1");
        assert_eq!((second.version, &second.features), (Some(1), &active.features));
        assert_eq!(second.materialization_intervals.len(), 1);
        assert_eq!(version(2), None);
        let elsewhere = view_in_file_history(file, "other", "fv", 0);
        assert_eq!(elsewhere.expect("Feast wrote it"), None);
    }

    #[test]
    fn a_precomputed_service_refuses_its_views() {
        let snapshot = snapshot(golden!("precompute_service_before"));
        let refusal = Refusal::PrecomputeOnline { service: "svc".to_owned() };
        assert_eq!(snapshot.views[0].refusal, Some(refusal));
        let service = &snapshot.services[0];
        assert!(service.precompute_online);
        assert_eq!(service.projections[0].view, "fv");
        assert_eq!(service.projections[0].features, ["f"]);
    }

    #[test]
    fn other_projects_are_not_seen() {
        let other = Snapshot::from_file(golden!("entityless_after"), "other");
        assert_eq!(other.expect("Feast wrote it"), Snapshot::default());
    }

    #[test]
    fn a_file_being_rewritten_is_not_whole() {
        let file = golden!("entityless_after");
        assert!(file_is_whole(file));
        assert!(!file_is_whole(b""));
        assert!(!file_is_whole(&file[..file.len() / 2]));
    }

    #[test]
    fn views_come_in_feasts_order() {
        let view = |name: &str| {
            let spec = message::AnyViewSpec { name: name.to_owned(), project: String::new() };
            message::AnyView { spec: Some(spec), meta: None }.encode_to_vec()
        };
        let raw = RawObjects {
            views: vec![
                (ViewKind::Label, view("l")),
                (ViewKind::OnDemand, view("o")),
                (ViewKind::Stream, view("s")),
                (ViewKind::Feature, view("z")),
                (ViewKind::Feature, view("a")),
            ],
            ..Default::default()
        };
        let snapshot = Snapshot::decode(&raw).expect("they are views");
        let names: Vec<&str> = snapshot.views.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["z", "a", "s", "o", "l"]);
        assert_eq!(snapshot.views[3].refusal, Some(Refusal::OnDemand));
        assert_eq!(snapshot.views[4].refusal, Some(Refusal::Label));
    }
}
