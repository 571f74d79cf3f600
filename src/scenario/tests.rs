//! A claim per mistake, and that no input at all makes reading panic.

use std::path::Path;

use proptest::prelude::*;

use super::*;

const GOOD: &str = r#"schema = 1
name = "jq"
source = "."
include = ["Dockerfile", "data"]
strategies = ["cold", "mine"]

[build]
targets = ["BUILDER", "PRODUCTION"]
args = { SLEEPTIME = "0" }

[[commit]]
message = "first"

[[commit]]
message = "second"
branch = "new"
from = "main"
edits = [
  { write = "data/1.json", content = "{}" },
  { chmod = "data/1.json", mode = "755" },
  { set-arg = "SLEEPTIME", value = "1" },
  { generate = "big", files = 2, size = 10 },
]

[[verify]]
target = "PRODUCTION"
commits = ["second"]
stdout = "^ok"

[[strategy]]
name = "mine"
engine = "fresh"
import = [{ type = "registry", ref = "x" }]

[[image]]
reference = "debian:bookworm"
rootfs = "debian.tar"
"#;

/// Replaces `old` in the good scenario, and gives `line:column: message | remedy` per mistake.
fn mistakes(old: &str, new: &str) -> Vec<String> {
    assert!(GOOD.contains(old), "{old}");
    let Err(Diagnostics(found)) = parse(Path::new("s.toml"), &GOOD.replacen(old, new, 1)) else {
        return Vec::new();
    };
    let show = |d: Diagnostic| {
        let remedy = d.remedy.map(|remedy| format!(" | {remedy}")).unwrap_or_default();
        format!("{}:{}: {}{remedy}", d.line, d.column, d.message)
    };
    found.into_iter().map(show).collect()
}

#[track_caller]
fn one(old: &str, new: &str, expected: &str) {
    assert_eq!(mistakes(old, new), [expected]);
}

#[test]
fn a_good_scenario_has_no_mistakes() {
    assert_eq!(mistakes("schema", "schema"), Vec::<String>::new());
}

#[test]
fn every_tolerance_and_assertion_is_read_whole_or_with_a_fraction() {
    let text = r#"
        schema = 1
        name = "gate"
        [build]
        [check]
        pulled = 0.25
        pushed = 1
        bytes = "64 KiB"
        time = 0.15
        significance = 0.01
        [[commit]]
        message = "first"
        [[commit.assert]]
        strategies = ["registry-*"]
        steps = ["*: RUN*"]
        min-reuse = 0.8
        max-ratio-to-cold = 1
        max-pulled = "10 MB"
        max-pushed = 5
        max-cache-size = "1 GiB"
    "#;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("gate.toml");
    std::fs::write(&path, text).unwrap();
    let scenario = load(&path).unwrap().scenario;
    assert_eq!((scenario.check.pulled, scenario.check.pushed), (Some(0.25), Some(1.0)));
    let assertion = &scenario.commits[0].assertions[0];
    assert_eq!((assertion.min_reuse, assertion.max_ratio_to_cold), (Some(0.8), Some(1.0)));
}

#[test]
fn a_chance_is_above_0_and_below_1() {
    let check = |value: &str| {
        let text = format!(
            "schema = 1\nname = \"a\"\n[build]\n[check]\nsignificance = {value}\n[[commit]]\nmessage = \"a\"\n"
        );
        parse(Path::new("a.toml"), &text).err().map(|mistakes| mistakes.to_string())
    };
    assert_eq!(check("0.5"), None);
    for value in ["0", "0.0", "1", "1.0", "-0.1", "nan"] {
        let mistake = check(value).unwrap();
        let said = "a.toml:5:16: `significance` is out of range";
        assert!(mistake.starts_with(said), "{mistake}");
        assert!(mistake.ends_with("a chance above 0 and below 1: 0.01 is 1 %"), "{mistake}");
    }
}

#[test]
fn tolerances_are_read_bare_or_under_their_heading_and_mistakes_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    let read = |text: &str| {
        std::fs::write(&path, text).unwrap();
        tolerances(&path).map_err(|mistakes| {
            let first = mistakes.0.into_iter().next().unwrap();
            let remedy = first.remedy.unwrap_or_default();
            format!("{}:{}: {} | {remedy}", first.line, first.column, first.message)
        })
    };
    for text in ["pulled = 0.5\nbytes = \"1 MB\"\n", "[check]\npulled = 0.5\nbytes = 1000000\n"] {
        let table = read(text).unwrap();
        assert_eq!((table.pulled, table.pushed), (Some(0.5), None));
        assert_eq!(table.bytes.unwrap().bytes().0, 1_000_000);
    }
    assert_eq!(read("").unwrap().pulled, None);
    for (text, said) in [
        ("pulled = -1", "1:10: `pulled` is out of range | a share, 0 or more: 0.1 is 10 %"),
        ("\nbyts = 3", "2:1: unknown key `byts` in the tolerances | did you mean `bytes`?"),
        (
            "bytes = \"3 XB\"",
            "1:9: `3 XB` is no size | a number of bytes, or one with a unit: B, kB, MB, GB, KiB, MiB, GiB",
        ),
        ("bytes = -3", "1:9: `bytes` is -3, out of range | from 0 to 9223372036854775807"),
        (
            "[check]\nsignificance = 1.0",
            "2:16: `significance` is out of range | a chance above 0 and below 1: 0.01 is 1 %",
        ),
        (
            "pulled = 0.5\n[check]\ntime = 0.2",
            "1:1: `pulled` is not under `[check]` | move it below that heading, or leave the heading out",
        ),
        ("check = 3", "1:9: `check` wants table, not integer | "),
        ("[check]\ntme = 3", "2:1: unknown key `tme` in check | did you mean `time`?"),
        ("pulled = ", "1:10: string values must be quoted, expected literal string | "),
    ] {
        assert_eq!(read(text).unwrap_err(), said);
    }
    std::fs::remove_file(&path).unwrap();
    assert!(tolerances(&path).unwrap_err().to_string().contains("the tolerances cannot be read"));
}

#[test]
fn the_jq_experiment_reads_with_its_defaults() {
    let text = r#"
        schema = 1
        name = "jq"
        source = ".."
        include = ["Dockerfile.jq", "data"]
        [build]
        dockerfile = "Dockerfile.jq"
        targets = ["BUILDER", "PRODUCTION"]
        args = { SLEEPTIME = "0" }
        [[commit]]
        message = "first"
        [[commit]]
        message = "edit one data file"
        branch = "newbranch"
        edits = [{ write = "data/1.json", content = '{"file": "4.json", "version": 2}' }]
        must-hit = ["builder: RUN apt-get*"]
        must-miss = ["builder: COPY data*"]
        [[verify]]
        target = "PRODUCTION"
        args = [".", "/data/1.json"]
        stdout-json = { file = "4.json", version = 2 }
    "#;
    let scenario = parse(Path::new("jq.toml"), text).unwrap();
    assert_eq!(scenario.strategies.len(), 6);
    assert_eq!(scenario.base_images, format::BaseImages::Warm);
    assert!(matches!(scenario.commits[1].edits[..], [format::Edit::Write(_)]));
    let json = serde_json::json!({"file": "4.json", "version": 2});
    assert_eq!(scenario.verify[0].stdout_json, Some(json));
}

#[test]
fn a_misspelt_cache_is_no_cache_that_never_hits() {
    let import = r#"import = [{ type = "registry", ref = "x" }]"#;
    let known = "known: {repo}, {commit}, {parent}, {branch}, {default-branch}, {merge-base}, {tag}, {stage}, \
                 {each-stage}, {built-stage}, {ancestor-1} to {ancestor-9}, {env:NAME}";
    for (new, said) in [
        (
            r#"import = [{ type = "registry", ref = "{repo}:{stage}_{parant}" }]"#,
            "33:38: `{parant}` is no placeholder | did you mean `{parent}`?",
        ),
        (
            r#"import = [{ type = "registry", ref = "${GITHUB_SHA}" }]"#,
            &format!("33:38: `{{GITHUB_SHA}}` is no placeholder | {known}"),
        ),
        (
            r#"import = [{ type = "registry", ref = "x:{ancestor-10}" }]"#,
            "33:38: `{ancestor-10}` means nothing here | `{ancestor-1}` to `{ancestor-9}`",
        ),
        (
            r#"import = [{ type = "registry", ref = "x:{parent" }]"#,
            "33:38: a brace that is not closed",
        ),
        (
            r#"import = [{ type = "gha", token = "{evn:TOKEN}" }]"#,
            "33:35: `{evn:TOKEN}` is no placeholder | did you mean `{env:TOKEN}`?",
        ),
        (
            r#"import = [{ type = "gha", token = "{env:}" }]"#,
            "33:35: `{env:}` means nothing here | name the variable: `{env:NAME}`",
        ),
        (
            r#"push = "{repo}:{comit}""#,
            "33:8: `{comit}` is no placeholder | did you mean `{commit}`?",
        ),
        (
            r#"push = "{repo}:{env:TAG}""#,
            "33:8: `{env:TAG}` means nothing here | `{env:NAME}` stands in the attributes of caches alone",
        ),
        (
            r#"push = "{repo}:{each-stage}""#,
            "33:8: `{each-stage}` means nothing here | it repeats imports; `{stage}` is the build's own",
        ),
        (
            r#"import = [{ type = "regsitry", ref = "x" }]"#,
            "33:20: no cache of type `regsitry` can be imported | did you mean `registry`?",
        ),
        (
            r#"import = [{ type = "inline" }]"#,
            "33:20: no cache of type `inline` can be imported | it is imported from the image that holds it: `type = \"registry\"`",
        ),
        (
            r#"export = [{ type = "floppy" }]"#,
            "33:20: no cache of type `floppy` can be exported | one of registry, local, inline, gha, s3, azblob",
        ),
        (
            r#"export = [{ type = "registry", ref = "{repo}:a", mode = "maxx" }]"#,
            "33:57: unknown mode `maxx` | did you mean `max`?",
        ),
        (
            r#"export = [{ type = "local", dest = "a", mode = "all" }]"#,
            "33:48: unknown mode `all` | `min` or `max`",
        ),
        (
            r#"export = [{ type = "registry", mode = "max" }]"#,
            "33:20: a registry cache without `ref` | give it a `ref`",
        ),
        (
            r#"import = [{ type = "registry", reff = "x" }]"#,
            "33:20: a registry cache without `ref` | is `reff` meant to be `ref`?",
        ),
        (
            r#"import = [{ type = "local", dest = "x" }]"#,
            "33:20: a local cache without `src` | give it a `src`",
        ),
        (
            r#"export = [{ type = "local", dest = "" }]"#,
            "33:20: a local cache without `dest` | give it a `dest`",
        ),
        (
            r#"import = [{ type = "registry", ref = "ghcr.io/Me/app:cache" }]"#,
            "33:38: `ghcr.io/Me/app:cache` is no image's reference | HOST/REPOSITORY:TAG, the repository in lower case",
        ),
        (
            r#"push = "{repo}:a:{commit}""#,
            "33:8: `{repo}:a:{commit}` is no image's reference | HOST/REPOSITORY:TAG, the repository in lower case",
        ),
        (
            r#"export = [{ type = "registry", ref = "{repo}:a b" }]"#,
            "33:38: `{repo}:a b` is no image's reference | HOST/REPOSITORY:TAG, the repository in lower case",
        ),
    ] {
        one(import, new, said);
    }
    let digest = format!("x@sha256:{}", "0".repeat(64));
    for reference in [
        "a",
        "me/app",
        "localhost/a",
        "ghcr.io/me/a_b__c-d---e.f/g",
        "127.0.0.1:5000/a:B_c.d-1",
        "[::1]:5/a",
        "a_b.internal/x",
        "Host/x",
        "{repo}",
        "{repo}/{stage}:{commit}",
        "{env:HOST}/X:{tag}",
        &digest,
    ] {
        let import_of = format!("import = [{{ type = \"registry\", ref = \"{reference}\" }}]");
        assert_eq!(mistakes(import, &import_of), Vec::<String>::new(), "{reference}");
    }
    let good = r#"
        push = "{repo}:{stage}_{commit}_{tag}"
        import = [
            { type = "registry", ref = "{repo}:{each-stage}_{ancestor-9}_{merge-base}" },
            { type = "registry", ref = "{repo}:{built-stage}_{branch}_{default-branch}" },
            { type = "s3", bucket = "b", secret_access_key = "a{b}c{" },
            { type = "gha", token = "{env:TOKEN}", url = "http://{env:HOST}" },
            { type = "local", src = "c" },
        ]
        export = [{ type = "inline" }, { type = "local", dest = "c", mode = "{env:MODE}" }, { type = "azblob", mode = "min" }]
    "#;
    assert_eq!(mistakes(import, good), Vec::<String>::new());
}

#[test]
fn an_integer_that_does_not_fit_is_named() {
    let range = "out of range | from 0 to 4294967295";
    let expected = format!("22:31: `files` is 4294967296, {range}");
    one("files = 2, size = 10", "files = 4294967296, size = 0", &expected);
}

#[test]
fn a_syntax_error_is_found_where_it_is() {
    let found = mistakes("name = \"jq\"", "name = ");
    assert!(found[0].starts_with("2:8: "), "{found:?}");
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    one("source", "sorce", "3:1: unknown key `sorce` in the scenario | did you mean `source`?");
    one(
        "commits = [",
        "must_hit = [",
        "27:1: unknown key `must_hit` in verify | known keys: args, commits, stdout, stdout-json, target",
    );
}

#[test]
fn a_wrong_type_is_named() {
    one("name = \"jq\"", "name = 3", "2:8: `name` wants string, not integer");
    one(
        "engine = \"fresh\"",
        "engine = \"fesh\"",
        "32:10: unknown value `fesh` of `engine` | did you mean `fresh`?",
    );
    one("files = 2", "files = -2", "22:31: `files` is -2, out of range | from 0 to 4294967295");
}

#[test]
fn a_missing_key_is_named() {
    one("message = \"first\"", "", "11:1: missing key `message` in commit");
    one(", content = \"{}\"", "", "19:3: missing key `content` in the edit `write`");
}

#[test]
fn another_schema_version_is_refused() {
    one("schema = 1", "schema = 2", "1:10: schema 2 is not known | this release reads schema 1");
}

#[test]
fn a_scenario_without_commits_is_refused() {
    let text = "schema = 1\nname = \"a\"\ncommit = []\n[build]\n";
    let Diagnostics(found) = parse(Path::new("s.toml"), text).unwrap_err();
    assert_eq!(found[0].message, "no commits to build");
}

#[test]
fn a_path_that_leaves_the_tree_is_refused() {
    one(
        "write = \"data/1.json\"",
        "write = \"data/../../x\"",
        "19:13: the path `data/../../x` leaves the tree | paths are relative to `source` and stay inside it",
    );
    one(
        "generate = \"big\"",
        "generate = \"/big\"",
        "22:16: the path `/big` is absolute | paths are relative to `source` and stay inside it",
    );
    one(
        "\"data\"]",
        "\"../data\"]",
        "4:26: the path `../data` leaves the tree | paths are relative to `source` and stay inside it",
    );
    one(
        "chmod = \"data/1.json\"",
        "chmod = \".git/config\"",
        "20:13: the path `.git/config` is inside git's own folder | paths are relative to `source` and stay inside it",
    );
    one(
        "[build]",
        "[build]\ndockerfile = \"../Dockerfile\"",
        "8:14: the path `../Dockerfile` leaves the tree | paths are relative to `source` and stay inside it",
    );
}

#[test]
fn an_edit_is_of_exactly_one_known_kind() {
    one("write =", "wriet =", "19:5: unknown kind of edit `wriet` | did you mean `write`?");
    one(
        "{ write = \"data/1.json\", content = \"{}\" }",
        "{}",
        "19:3: an edit without a kind | one of `write`, `append`, `replace`, `delete`, `rename`, `chmod`, `touch`, `copy`, `patch`, `set-arg`, `generate` says what it does",
    );
    one(
        "{ set-arg =",
        "{ touch = \"a\", set-arg =",
        "21:3: an edit of 2 kinds: `touch`, `set-arg` | make it several edits",
    );
}

#[test]
fn an_unknown_strategy_gets_a_suggestion() {
    one(
        "\"cold\"",
        "\"registry-mni\"",
        "5:15: unknown strategy `registry-mni` | did you mean `registry-min`?",
    );
    one(
        "\"cold\"",
        "\"zzz\"",
        "5:15: unknown strategy `zzz` | known: cold, from-branch, from-branch-or-default, from-default, from-last-3, from-merge-base, from-parent, from-shared-ref, from-tag, inline, local, mine, no-cache, registry-max, registry-min, stages",
    );
}

#[test]
fn a_fault_is_one_that_the_registry_knows_and_can_meet() {
    let with = |table: &str| mistakes("[[commit]]", &format!("[[fault]]\n{table}\n[[commit]]"));
    assert_eq!(with("does = \"stall\"\nseconds = 120\nmethod = \"get\""), Vec::<String>::new());
    assert_eq!(with("does = \"close\"\nkind = \"blob\""), Vec::<String>::new());
    assert!(with("does = \"close\"\nkind = \"blobb\"")[0].contains("did you mean `blob`"));
    assert!(with("does = \"crash\"")[0].contains("unknown value `crash` of `does`"));
    assert!(with("does = \"corupt\"")[0].contains("did you mean `corrupt`"));
    assert!(with("does = \"stall\"\nseconds = 121")[0].contains("at most 120"));
    assert_eq!(with("does = \"stall\"\nseconds = 60\ntimes = 10"), Vec::<String>::new());
    assert!(with("does = \"stall\"\nseconds = 60\ntimes = 11")[0].contains("at most 600 s in all"));
    assert!(with("does = \"close\"\nnth = 0")[0].contains("counted from 1"));
    assert!(with("does = \"close\"\nmethod = \"PUTT\"")[0].contains("did you mean `PUT`"));
}

#[test]
fn a_link_is_a_known_name_or_has_properties_that_can_be_read() {
    let with = |table: &str| mistakes("[[commit]]", &format!("[[link]]\n{table}\n[[commit]]"));
    assert_eq!(with("name = \"ci\""), Vec::<String>::new());
    assert_eq!(with("name = \"mine\"\nlatency = \"20ms\"\nup = \"5Mbit\""), Vec::<String>::new());
    assert!(with("name = \" \"\nup = \"5Mbit\"")[0].contains("without a name"));
    assert!(with("name = \"sloww\"")[0].contains("did you mean `slow`"));
    assert!(with("name = \"mine\"\ndown = \"fast\"")[0].contains("rate such as 200Mbit"));
    assert!(with("name = \"ci\"\n[[link]]\nname = \"ci\"")[0].contains("an earlier link"));
}

#[test]
fn a_name_is_given_once() {
    assert_eq!(
        mistakes("name = \"mine\"", "name = \"cold\""),
        [
            "5:23: unknown strategy `mine` | known: cold, from-branch, from-branch-or-default, from-default, from-last-3, from-merge-base, from-parent, from-shared-ref, from-tag, inline, local, no-cache, registry-max, registry-min, stages",
            "31:8: `cold` is also the name of a built-in strategy"
        ]
    );
    one("\"BUILDER\",", "\"PRODUCTION\",", "8:26: the target `PRODUCTION` is named twice");
    one("\"cold\",", "\"mine\",", "5:23: the strategy `mine` is named twice");
    one(
        "message = \"first\"",
        "message = \"second\"",
        "15:11: an earlier commit has the message `second` too | `from` and `verify` tell commits apart by their messages",
    );
}

#[test]
fn a_verify_names_a_target_that_is_built() {
    one(
        "target = \"PRODUCTION\"",
        "target = \"PRODUCTON\"",
        "26:10: `PRODUCTON` is not a target | did you mean `PRODUCTION`?",
    );
}

#[test]
fn a_verify_expects_something_that_can_be_matched() {
    one(
        "stdout = \"^ok\"",
        "",
        "25:1: a verify that expects nothing | give `stdout` or `stdout-json`",
    );
    one("stdout = \"^ok\"", "stdout = \"(\"", "28:10: bad regular expression: unclosed group");
    one(
        "commits = [\"second\"]",
        "commits = [\"third\"]",
        "27:12: no commit has the message `third`",
    );
}

#[test]
fn a_commit_starts_from_something_earlier() {
    one(
        "from = \"main\"",
        "from = \"second\"",
        "17:8: `second` is neither a branch nor a message of an earlier commit",
    );
    one("branch = \"new\"", "branch = \"a b\"", "16:10: bad branch name `a b`");
    assert!(mistakes("from = \"main\"", "from = \"first\"").is_empty());
}

#[test]
fn git_knows_two_modes() {
    one("\"755\"", "\"777\"", "20:35: bad mode `777` | `755` or `644`: git keeps no other mode");
}

#[test]
fn a_name_can_name_a_folder() {
    one(
        "name = \"jq\"",
        "name = \"Jq/..\"",
        "2:8: bad name `Jq/..` | lower-case letters, digits, and hyphens between them",
    );
}

#[test]
fn an_image_has_one_source() {
    one(
        "rootfs = \"debian.tar\"",
        "",
        "35:1: an image wants exactly one source | give either `rootfs` or `oci-layout`",
    );
}

#[test]
fn all_mistakes_are_told_at_once_and_shown_in_their_lines() {
    let text = GOOD
        .replacen("schema = 1", "schema = 7", 1)
        .replacen("source", "sorce", 1)
        .replacen("\"cold\"", "\"cöld\", \"x\"", 1);
    let error = parse(Path::new("s.toml"), &text).unwrap_err();
    insta::assert_snapshot!(error, @r#"
    s.toml:1:10: schema 7 is not known
      1 | schema = 7
        |          ^
      this release reads schema 1
    s.toml:3:1: unknown key `sorce` in the scenario
      3 | sorce = "."
        | ^
      did you mean `source`?
    s.toml:5:15: unknown strategy `cöld`
      5 | strategies = ["cöld", "x", "mine"]
        |               ^
      did you mean `cold`?
    s.toml:5:23: unknown strategy `x`
      5 | strategies = ["cöld", "x", "mine"]
        |                       ^
      known: cold, from-branch, from-branch-or-default, from-default, from-last-3, from-merge-base, from-parent, from-shared-ref, from-tag, inline, local, mine, no-cache, registry-max, registry-min, stages
    "#);
}

#[test]
fn a_file_or_a_source_that_is_not_there_is_a_diagnostic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.toml");
    assert!(load(&path).unwrap_err().to_string().contains("cannot be read"));
    std::fs::write(&path, GOOD.replace("source = \".\"", "source = \"nowhere\"")).unwrap();
    let Diagnostics(found) = load(&path).unwrap_err();
    assert_eq!((found[0].line, found[0].column), (3, 10));
    std::fs::write(&path, GOOD).unwrap();
    let loaded = load(&path).unwrap();
    assert_eq!(loaded.source, std::fs::canonicalize(folder.path()).unwrap());
    assert_eq!(edit_position(&path, 1, 2), Some((21, 3)));
}

#[test]
fn the_schema_accepts_what_is_read_and_lists_every_kind_of_edit() {
    let schema = schema();
    let good: serde_json::Value = toml::from_str(GOOD).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    assert!(validator.is_valid(&good), "{:?}", validator.iter_errors(&good).next());
    for kind in shape::EDIT_KINDS {
        assert!(schema.to_string().contains(&format!("\"{kind}\":")), "{kind}");
    }
}

/// Stretches of a scenario, so that mutations meet the interesting code.
fn fragments() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("[[commit]]".to_owned()),
        Just("commit = 3\n".to_owned()),
        Just("edits = [{}, [], 1]\n".to_owned()),
        Just("\"\"\"".to_owned()),
        Just("= 99999999999999999999".to_owned()),
        Just("= -0x1".to_owned()),
        Just("1979-05-27".to_owned()),
        Just("ö\r\n\t".to_owned()),
        ".{0,8}",
        "[\\[\\]{}=\",\n.#a-z0-9]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_input_makes_loading_panic(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0usize..20, fragments()), 1..5)
    ) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (at, length, fragment) in cuts {
            let start = at.index(text.len() + 1);
            let end = text.len().min(start + length);
            text.splice(start..end, fragment.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(diagnostics) = parse(Path::new("s.toml"), &text) {
            prop_assert!(!diagnostics.0.is_empty());
            prop_assert!(!diagnostics.to_string().is_empty());
        }
    }

    #[test]
    fn no_bytes_make_loading_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        prop_assert!(load(file.path()).is_err());
    }
}

#[test]
fn an_assertion_of_strategies_that_are_not_played_is_refused() {
    let with = |pattern: &str| {
        mistakes(
            "message = \"first\"",
            &format!(
                "message = \"first\"\nassert = [{{ strategies = [\"{pattern}\"], min-reuse = 1 }}]"
            ),
        )
    };
    assert_eq!(with("mine"), Vec::<String>::new());
    assert_eq!(with("c*"), Vec::<String>::new());
    assert_eq!(
        with("mien"),
        ["13:27: `mien` matches no strategy of the scenario | did you mean `mine`?"]
    );
    let unknown =
        "`registry-*` matches no strategy of the scenario | the scenario plays: cold, mine";
    assert!(with("registry-*")[0].ends_with(unknown));
}

#[test]
fn an_assertion_asks_something_and_steps_belong_to_min_reuse() {
    let with = |asserted: &str| {
        let text = format!("message = \"first\"\nassert = [{{ {asserted} }}]");
        mistakes("message = \"first\"", &text)
    };
    let nothing =
        "an assertion that asks nothing | add `must-hit`, `min-reuse` or another assertion";
    for asserted in [
        "",
        "must-hit = []",
        "must-hit = [], must-miss = [], strategies = [\"mine\"]",
        "steps = [\"RUN*\"]",
        "steps = [\"RUN*\"], must-hit = []",
    ] {
        let found = with(asserted);
        assert!(found.len() == 1 && found[0].ends_with(nothing), "{asserted}: {found:?}");
    }
    assert_eq!(
        with("steps = [\"RUN*\"], max-pulled = 1"),
        [
            "13:21: `steps` without `min-reuse` | they are those that `min-reuse` looks at: give it too"
        ]
    );
    for asserted in ["must-hit = [\"RUN*\"], must-miss = []", "steps = [], min-reuse = 0.5"] {
        assert_eq!(with(asserted), Vec::<String>::new());
    }
}

#[test]
fn one_edit_generates_a_million_files_at_most() {
    let edit = "{ generate = \"big\", files = 2, size = 10 }";
    let most = "{ generate = \"big\", files = 1000000, size = 0 }";
    assert_eq!(mistakes(edit, most), Vec::<String>::new());
    let more = "{ generate = \"big\", files = 4294967295, size = 0 }";
    one(edit, more, "22:31: more than 1000000 files in one edit");
}

#[test]
fn no_branch_lies_below_another() {
    let remedy = "git keeps them as a file and a folder of one name: rename one";
    let told = |name: &str, other: &str| {
        format!("16:10: there cannot be branches `{name}` and `{other}` | {remedy}")
    };
    let branch = "branch = \"new\"";
    one(branch, "branch = \"main/new\"", &told("main/new", "main"));
    assert_eq!(mistakes(branch, "branch = \"mainly/new\""), Vec::<String>::new());
    let first = "message = \"first\"\nbranch = \"new/one\"\n\n[[commit]]\nmessage = \"other\"";
    let found = mistakes("message = \"first\"", first);
    assert!(found.iter().any(|found| found.contains("branches `new` and `new/one`")), "{found:?}");
}

#[test]
fn names_are_one_line_of_plain_text() {
    for escape in ["\\u001b[31m", "\\n::stop-commands::x", "\\t"] {
        let found = mistakes("message = \"first\"", &format!("message = \"first{escape}\""));
        assert!(found[0].contains("a control character in a name"), "{found:?}");
        assert!(!found[0].contains(char::is_control), "{found:?}");
        let twice = format!("from = \"main{escape}\"");
        let found = mistakes("from = \"main\"", &twice);
        assert!(!found[0].contains(char::is_control), "{found:?}");
    }
}

#[test]
fn what_a_strategy_pushes_goes_to_the_runs_own_repository() {
    let engine = "engine = \"fresh\"";
    let remedy = "a ref that is pushed must begin with `{repo}`, the run's own repository";
    for (pushed, column) in [
        ("push = \"ghcr.io/me/app:latest\"", 8),
        ("push = \"{commit}/{repo}:a\"", 8),
        ("export = [{ type = \"registry\", ref = \"me/cache\" }]", 38),
    ] {
        let name = pushed.rsplit('"').nth(1).unwrap();
        one(
            engine,
            &format!("{engine}\n{pushed}"),
            &format!("33:{column}: `{name}` may be anybody's | {remedy}"),
        );
    }
    let longer = mistakes(engine, &format!("{engine}\npush = \"{{repository}}:a\""));
    assert!(longer[0].contains("`{repository}:a` may be anybody's"), "{longer:?}");
    for fine in [
        "push = \"{repo}:{commit}\"",
        "push = \"{repo}/{stage}:{commit}\"",
        "export = [{ type = \"registry\", ref = \"{repo}:cache\" }, { type = \"gha\", ref = \"x\" }, { type = \"inline\" }]",
    ] {
        assert_eq!(mistakes(engine, &format!("{engine}\n{fine}")), Vec::<String>::new());
    }
}
