//! Secrets that builds mount: where their values are, and how these are kept out of results.
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
pub struct Secrets(BTreeMap<String, Vec<u8>>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
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
        Ok(Self(found))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For the session that hands them to the engine.
    pub fn values(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.0
    }

    /// Puts `***` in the place of every line of a secret that `text` holds.
    pub fn hide(&self, text: &mut String) {
        for value in self.0.values() {
            let value = String::from_utf8_lossy(value);
            let lines = value.lines().map(str::trim).filter(|line| line.len() >= SHORTEST);
            for line in lines {
                if text.contains(line) {
                    *text = text.replace(line, "***");
                }
            }
        }
    }
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
        let secrets = Secrets(BTreeMap::from([("npm".to_owned(), value)]));
        let mut text = "login with correct-horse as user=me failed: yes".to_owned();
        secrets.hide(&mut text);
        assert_eq!(text, "login with *** as *** failed: yes");
        assert_eq!(format!("{secrets:?}"), "{\"npm\"}");
    }
}
