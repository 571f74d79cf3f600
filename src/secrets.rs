//! Secrets that builds mount and that caches are logged in to with: where their values are, and how
//! these are kept out of results.
//!
//! Read once, before anything is built. Nothing prints or serializes a value.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The most that BuildKit takes for one (buildkit `session/secrets/secretsprovider/store.go`).
const LIMIT: usize = 500 * 1024;
/// Shorter lines stand in logs by chance, and hiding them would hide nothing.
const SHORTEST: usize = 6;

/// Where one secret is, as buildx takes it: `id=NAME`, `id=NAME,src=FILE` or `id=NAME,env=VARIABLE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    id: String,
    from: From,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum From {
    File(PathBuf),
    Variable(String),
    /// The variable of the secret's name, else the file of that name.
    Either,
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("cannot read secret {id} from {}", path.display())]
    Read { id: String, path: PathBuf, source: std::io::Error },
    #[error("secret {id} is to come from the variable {variable}, which is not set")]
    NotSet { id: String, variable: String },
    #[error("secret {id} is larger than the 500 KiB that BuildKit takes")]
    TooLarge { id: String },
    #[error("secret {id} is given twice")]
    Twice { id: String },
    #[error("a cache attribute takes {{env:{variable}}}, and the variable {variable} is not set")]
    NoVariable { variable: String },
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (mut id, mut file, mut variable) = (None, None, None);
        for pair in text.split(',') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (key, value) {
                (_, "") => return Err(format!("{pair:?} is not KEY=VALUE")),
                ("id", value) => id = Some(value.to_owned()),
                ("src" | "source", value) => file = Some(PathBuf::from(value)),
                ("env", value) => variable = Some(value.to_owned()),
                ("type", "file" | "env") => {}
                (key, _) => return Err(format!("unknown key {key:?}; there are id, src and env")),
            }
        }
        let id = id.ok_or("a secret needs id=NAME")?;
        let from = match (file, variable) {
            (Some(_), Some(_)) => return Err("a secret has src or env, not both".into()),
            (Some(file), None) => From::File(file),
            (None, Some(variable)) => From::Variable(variable),
            (None, None) => From::Either,
        };
        Ok(Self { id, from })
    }
}

/// Values by their names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets {
    /// For builds, by their ids.
    mounted: BTreeMap<String, Vec<u8>>,
    /// Of the environment, for cache attributes.
    variables: BTreeMap<String, String>,
    /// Every line of all that is hidden, longest first: one may be the beginning of another.
    hidden: Vec<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.mounted.keys().chain(self.variables.keys())).finish()
    }
}

impl Secrets {
    /// Reads every one of `places`.
    pub fn read(places: &[Place]) -> Result<Self, SecretError> {
        let mut found = BTreeMap::new();
        for Place { id, from } in places {
            let id = id.clone();
            let variable = |name: &str| {
                use std::os::unix::ffi::OsStringExt;
                std::env::var_os(name).map(OsStringExt::into_vec)
            };
            let file = |path: PathBuf| {
                let read = std::fs::read(&path);
                read.map_err(|source| SecretError::Read { id: id.clone(), path, source })
            };
            let value = match from {
                From::File(path) => file(path.clone())?,
                From::Variable(name) => {
                    let unset = || SecretError::NotSet { id: id.clone(), variable: name.clone() };
                    variable(name).ok_or_else(unset)?
                }
                From::Either => match variable(&id) {
                    Some(value) => value,
                    None => file(PathBuf::from(&id))?,
                },
            };
            if value.len() > LIMIT {
                return Err(SecretError::TooLarge { id });
            }
            if found.insert(id.clone(), value).is_some() {
                return Err(SecretError::Twice { id });
            }
        }
        Ok(Self::of(found))
    }

    fn of(mounted: BTreeMap<String, Vec<u8>>) -> Self {
        let mut secrets = Self::default();
        for value in mounted.values() {
            secrets.conceal(&String::from_utf8_lossy(value));
        }
        Self { mounted, ..secrets }
    }

    /// For the session that hands them to the engine.
    pub fn values(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.mounted
    }

    /// Reads the variables that `text` names as `{env:NAME}`, for [`Self::filled`].
    pub fn look_up(&mut self, text: &str) -> Result<(), SecretError> {
        for name in parts(text).filter_map(|(_, name)| name) {
            let value = std::env::var(name)
                .map_err(|_| SecretError::NoVariable { variable: name.to_owned() })?;
            self.conceal(&value);
            self.variables.insert(name.to_owned(), value);
        }
        Ok(())
    }

    /// `text` with the values of the variables that it names, which were looked up before.
    pub fn filled(&self, text: &str) -> String {
        let value = |name: &str| self.variables.get(name).map_or("", String::as_str);
        parts(text).flat_map(|(plain, name)| [plain, name.map_or("", value)]).collect()
    }

    /// Hides every line of `value` from now on.
    pub fn conceal(&mut self, value: &str) {
        let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
        self.hidden.extend(lines.map(str::to_owned));
        self.hidden.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.hidden.dedup();
    }

    /// Whether there is anything to hide.
    pub fn is_hiding(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// Puts `***` in the place of every line of a secret that `text` holds.
    pub fn hide(&self, text: &mut String) {
        for line in &self.hidden {
            if text.contains(line) {
                *text = text.replace(line, "***");
            }
        }
    }
}

/// `text` in pieces: what is plain, and the name in the `{env:NAME}` after it; the last has none.
fn parts(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let mut left = Some(text);
    std::iter::from_fn(move || {
        let rest = left.take()?;
        let split = rest.split_once("{env:").and_then(|(plain, after)| {
            let (name, after) = after.split_once('}')?;
            Some((plain, name, after))
        });
        Some(match split {
            Some((plain, name, after)) => {
                left = Some(after);
                (plain, Some(name))
            }
            None => (rest, None),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Result<Place, String> {
        text.parse()
    }

    #[test]
    fn a_place_is_written_as_for_buildx() {
        let of = |id: &str, from| Ok(Place { id: id.into(), from });
        assert_eq!(place("id=npm,src=/x/y"), of("npm", From::File("/x/y".into())));
        assert_eq!(place("type=file,id=npm,source=y"), of("npm", From::File("y".into())));
        assert_eq!(place("id=npm,env=TOKEN"), of("npm", From::Variable("TOKEN".into())));
        assert_eq!(place("id=npm"), of("npm", From::Either));
        for bad in ["", "npm", "src=x", "id=a,src=b,env=c", "id=a,mode=4", "id="] {
            assert!(place(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_there_too_large_or_given_twice_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, size: usize| {
            let path = folder.path().join(name);
            std::fs::write(&path, vec![b'x'; size]).unwrap();
            place(&format!("id={name},src={}", path.display())).unwrap()
        };
        let (small, large) = (file("small", 3), file("large", LIMIT + 1));
        let read = |places: &[&Place]| {
            Secrets::read(&places.iter().map(|place| (*place).clone()).collect::<Vec<_>>())
        };
        assert_eq!(read(&[&small]).unwrap().values()["small"], b"xxx");
        assert!(matches!(read(&[&large]), Err(SecretError::TooLarge { .. })));
        assert!(matches!(read(&[&small, &small]), Err(SecretError::Twice { .. })));
        let gone = place("id=a,src=/nowhere/x").unwrap();
        assert!(matches!(read(&[&gone]), Err(SecretError::Read { .. })));
        let unset = place("id=a,env=CACHEFROM_NO_SUCH_VARIABLE").unwrap();
        assert!(matches!(read(&[&unset]), Err(SecretError::NotSet { .. })));
    }

    #[test]
    fn values_are_hidden_line_by_line_and_never_printed() {
        let value = b"user=me\ncorrect-horse\n\nyes\n".to_vec();
        let secrets = Secrets::of(BTreeMap::from([("npm".to_owned(), value)]));
        let mut text = "login with correct-horse as user=me failed: yes".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "login with *** as *** failed: yes");
        assert_eq!(format!("{secrets:?}"), "{\"npm\"}");
    }

    #[test]
    fn a_secret_that_begins_another_does_not_uncover_its_end() {
        let value = |text: &str| text.as_bytes().to_vec();
        let (one, other) = (value("hunter2"), value("hunter2-prod-9f3c"));
        let secrets = Secrets::of(BTreeMap::from([("a".to_owned(), one), ("b".to_owned(), other)]));
        let mut text = "hunter2-prod-9f3c, then hunter2".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "***, then ***");
    }

    #[test]
    fn variables_are_filled_in_once_and_hidden() {
        let mut secrets = Secrets::default();
        // Cargo sets this one for tests.
        let value = env!("CARGO_PKG_NAME");
        secrets.look_up("a").unwrap();
        assert!(!secrets.is_hiding());
        secrets.look_up("a{env:CARGO_PKG_NAME}b{env:CARGO_PKG_NAME}{env:").unwrap();
        let filled = secrets.filled("{env:CARGO_PKG_NAME}/{x}{env:");
        assert_eq!(filled, format!("{value}/{{x}}{{env:"));
        let mut text = format!("logged in with {value}");
        secrets.hide(&mut text);
        assert_eq!(text, "logged in with ***");
        assert_eq!(format!("{secrets:?}"), "{\"CARGO_PKG_NAME\"}");
        let unset = secrets.look_up("{env:CACHEFROM_NO_SUCH_VARIABLE}").unwrap_err();
        let said = "a cache attribute takes {env:CACHEFROM_NO_SUCH_VARIABLE}, and the variable \
                    CACHEFROM_NO_SUCH_VARIABLE is not set";
        assert_eq!(unset.to_string(), said);
    }
}
