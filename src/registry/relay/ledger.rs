//! What this run has put into the one repository of a real registry, and for whom.
//!
//! A run's strategies and rounds each think that they have a repository of their own, as with the
//! embedded registry; the ledger keeps them apart, by tags that carry the repository's name and by
//! knowing which repository has which blob. So a first push is a first push, whoever else pushed the
//! same layer before.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::error::RelayError;
use crate::registry::manifest::{Manifest, reachable};
use crate::registry::{CacheSize, Digest, Reference, RepositoryName, Tag};
use crate::units::Bytes;

/// What a tag may measure (distribution specification 1.1).
const TAG_LIMIT: usize = 128;

#[derive(Debug)]
pub struct Ledger {
    /// What every tag of this run begins with.
    prefix: String,
    /// `HOST/REPOSITORY`.
    repository: String,
    list: Option<PathBuf>,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    held: BTreeMap<RepositoryName, Held>,
    /// The real tag of a repository's tag, and which real tags are taken.
    names: BTreeMap<(RepositoryName, Tag), Tag>,
    taken: BTreeSet<Tag>,
    /// Real tags that were pushed to, in that order.
    refs: Vec<Ref>,
    /// Every manifest that was pushed, in the order in which they first were: what an index points
    /// to comes before it.
    digests: Vec<Digest>,
    file: Option<File>,
}

/// What one of the run's repositories holds.
#[derive(Debug, Default)]
struct Held {
    blobs: BTreeMap<Digest, u64>,
    manifests: BTreeMap<Digest, Stored>,
    tags: BTreeMap<Tag, Digest>,
}

/// A real tag that was pushed to, and what it was pushed as.
#[derive(Clone, Debug)]
pub struct Ref {
    /// The last part of `HOST/REPOSITORY:TAG`.
    pub tag: String,
    /// At least one.
    pub digests: Vec<Digest>,
}

#[derive(Clone, Debug)]
pub struct Stored {
    pub media_type: String,
    pub bytes: Vec<u8>,
}

impl Ledger {
    /// Refs are written to `list` before they are pushed, so that they are known even after a kill.
    pub fn new(run: &str, repository: String, list: Option<PathBuf>) -> Self {
        let prefix = format!("cachefrom-{run}");
        Self { prefix, repository, list, books: Mutex::default() }
    }

    /// What `tag` of `repository` is called in the real repository: unique to this run.
    pub fn real_tag(&self, repository: &RepositoryName, tag: &Tag) -> Result<Tag, RelayError> {
        let mut books = self.books();
        let key = (repository.clone(), tag.clone());
        if let Some(known) = books.names.get(&key) {
            return Ok(known.clone());
        }
        let flat = repository.as_str().replace('/', "-");
        let whole = format!("{}-{flat}-{tag}", self.prefix);
        let digest = Digest::of(format!("{repository}:{tag}").as_bytes());
        let hash = &digest.hex()[..16];
        let mut short = whole.clone();
        // All of a repository's name and of a tag is ASCII.
        short.truncate(TAG_LIMIT - hash.len() - 1);
        let unique = format!("{short}-{hash}");
        let candidates = [whole, unique];
        let free = |text: &String| {
            let tag = text.parse::<Tag>().ok()?;
            (!books.taken.contains(&tag)).then_some(tag)
        };
        // Nothing is ever pushed under a tag that two names share, or that is not this run's.
        let Some(real) = candidates.iter().find_map(free) else {
            return Err(RelayError::NoTag { name: format!("{repository}:{tag}") });
        };
        books.taken.insert(real.clone());
        books.names.insert(key, real.clone());
        Ok(real)
    }

    /// A tag outside all of the run's repositories, for trying something out.
    pub fn trial_tag(&self, what: &str) -> String {
        format!("{}-preflight-{what}", self.prefix)
    }

    /// A manifest is about to be pushed as `tag`, if it has one.
    pub fn pushing(&self, tag: Option<&str>, digest: &Digest) -> Result<(), RelayError> {
        let mut books = self.books();
        add(&mut books.digests, digest);
        let Some(tag) = tag else { return Ok(()) };
        if let Some(known) = books.refs.iter_mut().find(|known| known.tag == tag) {
            add(&mut known.digests, digest);
            return Ok(());
        }
        books.refs.push(Ref { tag: tag.to_owned(), digests: vec![digest.clone()] });
        let Some(path) = &self.list else { return Ok(()) };
        let written = append(&mut books.file, path, &format!("{}:{tag}", self.repository));
        written.map_err(|source| RelayError::List { path: path.clone(), source })
    }

    /// What was to be pushed is not there, or not any more.
    pub fn forget(&self, tag: &str, digest: &Digest) -> Result<(), RelayError> {
        let mut books = self.books();
        books.digests.retain(|known| known != digest);
        books.refs.retain(|known| known.tag != tag);
        let name = |left: &Ref| format!("{}:{}", self.repository, left.tag);
        let left = books.refs.iter().map(name).collect();
        // Whoever pushes next opens the list again.
        books.file = None;
        drop(books);
        self.relist(left)
    }

    pub fn add_manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
        digest: &Digest,
        stored: Stored,
    ) {
        let mut books = self.books();
        let held = books.held.entry(repository.clone()).or_default();
        held.manifests.insert(digest.clone(), stored);
        if let Reference::Tag(tag) = reference {
            held.tags.insert(tag.clone(), digest.clone());
        }
    }

    pub fn add_blob(&self, repository: &RepositoryName, digest: &Digest, bytes: u64) {
        let mut books = self.books();
        books.held.entry(repository.clone()).or_default().blobs.insert(digest.clone(), bytes);
    }

    /// The size of a blob that the repository holds.
    pub fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Option<u64> {
        self.books().held.get(repository)?.blobs.get(digest).copied()
    }

    pub fn manifest(&self, repository: &RepositoryName, reference: &Reference) -> Option<Stored> {
        let books = self.books();
        let held = books.held.get(repository)?;
        let digest = match reference {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => held.tags.get(tag)?,
        };
        held.manifests.get(digest).cloned()
    }

    pub fn cache_size(&self, repository: &RepositoryName) -> CacheSize {
        let books = self.books();
        let Some(held) = books.held.get(repository) else { return CacheSize::default() };
        let roots = held.tags.keys().cloned().map(Reference::Tag).collect();
        let found = |reference: &Reference| {
            let digest = match reference {
                Reference::Digest(digest) => Some(digest),
                Reference::Tag(tag) => held.tags.get(tag),
            };
            let parsed = digest.and_then(|digest| {
                let stored = held.manifests.get(digest)?;
                Some((digest.clone(), Manifest::parse(&stored.bytes).ok()?))
            });
            Ok::<_, std::convert::Infallible>(parsed)
        };
        let Ok(reachable) = reachable(roots, found);
        let mut size = CacheSize::default();
        for (digest, bytes) in &held.blobs {
            size.blobs += 1;
            size.bytes = size.bytes + Bytes(*bytes);
            if !reachable.contains(digest) {
                size.unreachable_bytes = size.unreachable_bytes + Bytes(*bytes);
            }
        }
        size
    }

    /// The real tags that were pushed to.
    pub fn refs(&self) -> Vec<Ref> {
        self.books().refs.clone()
    }

    /// Every manifest that was pushed, tagged or not; what an index points to comes before it.
    pub fn digests(&self) -> Vec<Digest> {
        self.books().digests.clone()
    }

    /// Whether a real tag is one of this tool's, of whichever run.
    pub fn is_ours(tag: &str) -> bool {
        tag.starts_with("cachefrom-")
    }

    /// Whether a real tag is one of this run's.
    pub fn is_own(&self, tag: &str) -> bool {
        tag.strip_prefix(&*self.prefix).is_some_and(|rest| rest.starts_with('-'))
    }

    /// The list of refs, once there is one.
    pub fn list(&self) -> Option<&Path> {
        self.list.as_deref().filter(|path| path.exists())
    }

    /// Leaves `refs` in the list, with what other runs have put there, or no list where there is
    /// neither: a run that goes on with an earlier one's journal finds its refs here.
    pub fn relist(&self, refs: Vec<String>) -> Result<(), RelayError> {
        let Some(path) = self.list() else { return Ok(()) };
        let unwritten = |source| RelayError::List { path: path.to_owned(), source };
        let ours = format!("{}:{}-", self.repository, self.prefix);
        let text = std::fs::read_to_string(path).map_err(unwritten)?;
        let others = text.lines().filter(|line| !line.starts_with(&ours)).map(str::to_owned);
        let lines: Vec<String> = others.chain(refs).collect();
        let written = match &*lines {
            [] => std::fs::remove_file(path),
            lines => std::fs::write(path, format!("{}\n", lines.join("\n"))),
        };
        written.map_err(unwritten)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Each change is one insertion, so a panic elsewhere leaves nothing half done.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(digests: &mut Vec<Digest>, digest: &Digest) {
    if !digests.contains(digest) {
        digests.push(digest.clone());
    }
}

fn append(file: &mut Option<File>, path: &Path, line: &str) -> std::io::Result<()> {
    let file = match file {
        Some(file) => file,
        None => {
            let opened = File::options().create(true).append(true).open(path)?;
            file.insert(opened)
        }
    };
    file.write_all(format!("{line}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(list: Option<PathBuf>) -> Ledger {
        Ledger::new("1", "r.test/me".into(), list)
    }

    fn real(ledger: &Ledger, repository: &str, tag: &str) -> String {
        let real = ledger.real_tag(&repository.parse().unwrap(), &tag.parse().unwrap());
        real.unwrap().to_string()
    }

    #[test]
    fn tags_of_different_repositories_never_meet() {
        let ledger = ledger(None);
        let first = real(&ledger, "jq/r0/l0/inline", "a-b");
        assert_eq!(first, "cachefrom-1-jq-r0-l0-inline-a-b");
        assert_eq!(real(&ledger, "jq/r0/l0/inline", "a-b"), first);
        assert_ne!(real(&ledger, "jq/r0/l0/inline-a", "b"), first);
        let long = real(&ledger, "x/".repeat(90).trim_end_matches('/'), &"y".repeat(120));
        assert!(long.len() <= TAG_LIMIT && long.starts_with("cachefrom-1-x-x-"), "{long}");
        assert_ne!(real(&ledger, "x/".repeat(90).trim_end_matches('/'), &"y".repeat(119)), long);
    }

    #[test]
    fn a_tag_that_is_not_this_runs_own_is_never_used() {
        let ledger = ledger(None);
        let (name, tag) = ("a".parse().unwrap(), "latest".parse().unwrap());
        let hash = Digest::of(b"a:latest").hex()[..16].to_owned();
        for taken in ["cachefrom-1-a-latest".to_owned(), format!("cachefrom-1-a-latest-{hash}")] {
            ledger.books().taken.insert(taken.parse().unwrap());
        }
        let error = ledger.real_tag(&name, &tag).unwrap_err();
        assert!(error.to_string().contains("a:latest"), "{error}");
        assert!(ledger.is_own("cachefrom-1-a") && !ledger.is_own("cachefrom-12-a"));
    }

    #[test]
    fn refs_are_listed_once_and_before_they_are_pushed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refs.txt");
        let ledger = ledger(Some(path.clone()));
        assert_eq!(ledger.list(), None);
        for content in [b"1", b"2"] {
            ledger.pushing(Some("cachefrom-1-a"), &Digest::of(content)).unwrap();
        }
        ledger.pushing(None, &Digest::of(b"3")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "r.test/me:cachefrom-1-a\n");
        assert_eq!((ledger.refs().len(), ledger.digests().len()), (1, 3));
        ledger.relist(vec![]).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn the_list_keeps_what_an_earlier_run_left_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("refs.txt");
        std::fs::write(&path, "r.test/me:cachefrom-0-a\n").unwrap();
        let ledger = ledger(Some(path.clone()));
        for tag in ["cachefrom-1-a", "cachefrom-1-b"] {
            ledger.pushing(Some(tag), &Digest::of(tag.as_bytes())).unwrap();
        }
        ledger.forget("cachefrom-1-a", &Digest::of(b"cachefrom-1-a")).unwrap();
        let listed = || std::fs::read_to_string(&path).unwrap();
        assert_eq!(listed(), "r.test/me:cachefrom-0-a\nr.test/me:cachefrom-1-b\n");
        ledger.relist(vec![]).unwrap();
        assert_eq!(listed(), "r.test/me:cachefrom-0-a\n");
    }

    #[test]
    fn what_no_tag_leads_to_any_more_is_growth() {
        let ledger = ledger(None);
        let name: RepositoryName = "jq/r0/l0/max".parse().unwrap();
        let reference: Reference = "cache".parse().unwrap();
        for (content, size) in [(b"old", 10), (b"new", 5)] {
            let digest = Digest::of(content);
            ledger.add_blob(&name, &digest, size);
            let bytes = serde_json::json!({"layers": [{"digest": digest, "size": size}]});
            let bytes = bytes.to_string().into_bytes();
            let stored = Stored { media_type: "x".into(), bytes: bytes.clone() };
            ledger.add_manifest(&name, &reference, &Digest::of(&bytes), stored);
        }
        let size = ledger.cache_size(&name);
        assert_eq!((size.blobs, size.bytes, size.unreachable_bytes), (2, Bytes(15), Bytes(10)));
    }
}
