//! A feature as a request or a service refers to it.

use std::collections::BTreeMap;

use feast::registry::Snapshot;

use crate::error::Error;
use crate::request::Wanted;

/// Which version of a view is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// The active one.
    Latest,
    /// A numbered one.
    Number(u32),
}

/// A feature of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// The view.
    pub view: String,
    /// The view's name in full feature names, when it is another.
    pub alias: Option<String>,
    /// The version.
    pub version: Version,
    /// The feature.
    pub feature: String,
    /// Join key to the name under which a request carries it.
    pub join_key_map: BTreeMap<String, String>,
}

impl Reference {
    /// What is asked for, in order.
    ///
    /// # Errors
    /// [`Error::UnknownService`], [`Error::Reference`].
    pub(crate) fn of(
        wanted: &Wanted,
        project: &str,
        snapshot: &Snapshot,
    ) -> Result<Vec<Self>, Error> {
        let name = match wanted {
            Wanted::Features(references) => {
                return references.iter().map(|text| Self::parse(text)).collect();
            }
            Wanted::Service(name) => name,
        };
        let service = snapshot.services.iter().find(|service| service.name == *name);
        let service = service.ok_or_else(|| Error::UnknownService {
            service: name.clone(),
            project: project.to_owned(),
        })?;
        let of_projection = |projection: &feast::ProjectionRef| {
            let of_feature = |feature: &String| Self {
                view: projection.view.clone(),
                alias: projection.alias.clone(),
                version: projection.version.map_or(Version::Latest, Version::Number),
                feature: feature.clone(),
                join_key_map: projection.join_key_map.clone(),
            };
            projection.features.iter().map(of_feature).collect::<Vec<_>>()
        };
        Ok(service.projections.iter().flat_map(of_projection).collect())
    }

    /// Reads `view:feature`, `view@v2:feature` or `view@latest:feature`.
    fn parse(text: &str) -> Result<Self, Error> {
        let refused = || Error::Reference { reference: text.to_owned() };
        let (view, feature) = text.split_once(':').ok_or_else(refused)?;
        let (view, version) = match view.split_once('@') {
            None => (view, Version::Latest),
            Some((view, version)) if version.eq_ignore_ascii_case("latest") => {
                (view, Version::Latest)
            }
            Some((view, version)) => {
                let digits = version.strip_prefix(['v', 'V']).ok_or_else(refused)?;
                // A sign would be taken for a part of the number.
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(refused());
                }
                (view, Version::Number(digits.parse().map_err(|_| refused())?))
            }
        };
        if view.is_empty() || feature.is_empty() {
            return Err(refused());
        }
        Ok(Self {
            view: view.to_owned(),
            alias: None,
            version,
            feature: feature.to_owned(),
            join_key_map: BTreeMap::new(),
        })
    }

    /// The name of its column in the answer.
    pub(crate) fn column_name(&self, is_full: bool) -> String {
        if !is_full {
            return self.feature.clone();
        }
        let view = self.alias.as_ref().unwrap_or(&self.view);
        match self.version {
            Version::Latest => format!("{view}__{}", self.feature),
            Version::Number(number) => format!("{view}@v{number}__{}", self.feature),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_with_and_without_a_version() {
        for (text, view, version) in [
            ("v:f", "v", Version::Latest),
            ("v@latest:f", "v", Version::Latest),
            ("v@v2:f", "v", Version::Number(2)),
            ("v@V0:f", "v", Version::Number(0)),
        ] {
            let reference = Reference::parse(text).expect(text);
            assert_eq!((reference.view.as_str(), reference.version), (view, version), "{text}");
            assert_eq!(reference.feature, "f");
        }
        for text in ["", "f", ":f", "v:", "v@:f", "v@2:f", "v@v:f", "v@v+1:f", "@v1:f"] {
            let error = Reference::parse(text).expect_err(text).to_string();
            assert!(error.contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn full_names_carry_the_alias_and_the_pinned_version() {
        let mut reference = Reference::parse("v@v2:f").expect("a reference");
        assert_eq!(reference.column_name(false), "f");
        assert_eq!(reference.column_name(true), "v@v2__f");
        reference.alias = Some("a".to_owned());
        reference.version = Version::Latest;
        assert_eq!(reference.column_name(true), "a__f");
    }
}
