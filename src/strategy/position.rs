//! Where a trial stands in the commit graph: what placeholders of a strategy stand for.

use std::collections::BTreeSet;

/// One commit of the sequence, as far as caches are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing<'a> {
    pub id: &'a str,
    pub branch: &'a str,
    /// The place of its (first) parent, before it in the sequence.
    pub parent: Option<usize>,
    /// The places of what it merges: its other parents, or the nearest of their ancestors there is.
    pub merged: &'a [usize],
    /// Whether a release tag names it.
    pub tagged: bool,
}

/// Where in the commit graph a trial stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Host, port and repository of this strategy and round, such as `127.0.0.1:5000/jq/r1/inline`.
    pub repo: String,
    pub commit: String,
    /// First-parent ancestors, the parent first; at most [`Position::ANCESTORS`].
    pub ancestors: Vec<String>,
    pub branch: String,
    pub default_branch: String,
    /// The newest commit that the branch and the default branch share, by merges too; on the
    /// default branch itself, the parent.
    pub merge_base: Option<String>,
    /// The nearest ancestor that a release tag names.
    pub tag: Option<String>,
    /// The stages to build, in order; one unnamed build when empty.
    pub targets: Vec<String>,
}

impl Position {
    /// How far back `{ancestor-N}` reaches.
    pub const ANCESTORS: usize = 9;

    /// The commit at `index` of `commits`, whose default branch is `default_branch`.
    ///
    /// Later commits do not count: a build in CI sees what was there at its time.
    pub fn at(commits: &[Standing<'_>], index: usize, default_branch: &str) -> Self {
        let id = |place: usize| commits.get(place).map(|commit| commit.id.to_owned());
        let own = commits.get(index);
        let branch = own.map_or("", |commit| commit.branch);
        let above = || ancestors(commits, index).skip(1);
        let merge_base = if branch == default_branch {
            above().next()
        } else {
            let before = commits.get(..index).unwrap_or_default();
            let trunk = before.iter().rposition(|commit| commit.branch == default_branch);
            // A descendant stands after its ancestors: the last that is shared is nobody's ancestor.
            trunk.and_then(|trunk| {
                let (own, other) = (reachable(commits, index), reachable(commits, trunk));
                own.intersection(&other).max().copied()
            })
        };
        Self {
            repo: String::new(),
            commit: own.map_or_else(String::new, |commit| commit.id.to_owned()),
            ancestors: above().filter_map(id).take(Self::ANCESTORS).collect(),
            branch: branch.to_owned(),
            default_branch: default_branch.to_owned(),
            merge_base: merge_base.and_then(id),
            tag: above().find(|place| commits[*place].tagged).and_then(id),
            targets: vec![],
        }
    }

    pub fn parent(&self) -> Option<&str> {
        self.ancestors.first().map(String::as_str)
    }
}

/// The places of a commit and of its first-parent ancestors.
fn ancestors<'a>(
    commits: &'a [Standing<'a>],
    index: usize,
) -> impl Iterator<Item = usize> + use<'a> {
    // A parent stands before its child, so this ends.
    let parent = |&place: &usize| commits.get(place)?.parent.filter(|parent| *parent < place);
    std::iter::successors(Some(index).filter(|index| *index < commits.len()), parent)
}

/// The places of a commit and of everything that it is made from.
fn reachable(commits: &[Standing<'_>], index: usize) -> BTreeSet<usize> {
    let (mut found, mut waiting) = (BTreeSet::new(), vec![index]);
    while let Some(place) = waiting.pop() {
        let Some(commit) = commits.get(place) else { continue };
        if found.insert(place) {
            waiting.extend(commit.parent.iter().chain(commit.merged).filter(|&&up| up < place));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `0 ── 1 ── 3` on main, `2` on a side branch from 0, then `4` on the side branch.
    fn graph() -> Vec<Standing<'static>> {
        let commit =
            |id, branch, parent, tagged| Standing { id, branch, parent, merged: &[], tagged };
        vec![
            commit("a", "main", None, true),
            commit("b", "main", Some(0), false),
            commit("c", "side", Some(0), false),
            commit("d", "main", Some(1), false),
            commit("e", "side", Some(2), false),
        ]
    }

    #[test]
    fn a_branch_knows_where_it_left_the_default_branch() {
        let at = |index| Position::at(&graph(), index, "main");
        assert_eq!(at(0), Position { merge_base: None, tag: None, ..at(0) });
        assert_eq!(at(2).merge_base.as_deref(), Some("a"));
        assert_eq!(at(4).merge_base.as_deref(), Some("a"));
        assert_eq!(at(3).merge_base.as_deref(), Some("b"), "the parent");
        assert_eq!(at(4).ancestors, ["c", "a"]);
        assert_eq!((at(3).tag.as_deref(), at(3).parent()), (Some("a"), Some("b")));
        assert_eq!(Position::at(&graph(), 9, "main").commit, "");
    }

    #[test]
    fn what_a_branch_has_merged_since_is_its_merge_base() {
        let mut graph = graph();
        graph[4].merged = &[3];
        let at = Position::at(&graph, 4, "main");
        assert_eq!((at.merge_base.as_deref(), at.parent()), (Some("d"), Some("c")));
        // And the default branch shares what it has merged.
        graph[3].merged = &[2];
        graph[4].merged = &[];
        assert_eq!(Position::at(&graph, 4, "main").merge_base.as_deref(), Some("c"));
    }
}
