//! What a scripted commit changes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One change of the tree. The key that is present says which.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all = "kebab-case")]
pub enum Edit {
    Write(WriteEdit),
    Append(AppendEdit),
    Replace(ReplaceEdit),
    Delete(DeleteEdit),
    Rename(RenameEdit),
    Chmod(ChmodEdit),
    Touch(TouchEdit),
    Copy(CopyEdit),
    Patch(PatchEdit),
    SetArg(SetArgEdit),
    Generate(GenerateEdit),
}

/// The file becomes exactly `content`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteEdit {
    pub write: String,
    pub content: String,
}
/// `content` is added at the file's end.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AppendEdit {
    pub append: String,
    pub content: String,
}
/// In the file, the text `pattern` becomes `with`, exactly `times` times.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceEdit {
    pub replace: String,
    pub pattern: String,
    pub with: String,
    #[serde(default = "once")]
    pub times: usize,
}
fn once() -> usize {
    1
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeleteEdit {
    pub delete: String,
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameEdit {
    pub rename: String,
    pub to: String,
}
/// Sets the executable bit (`mode = "755"`) or clears it (`"644"`): git keeps no other mode.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChmodEdit {
    pub chmod: String,
    pub mode: String,
}
/// A new mtime and nothing else: the commit's tree is its parent's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TouchEdit {
    pub touch: String,
}
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyEdit {
    pub copy: String,
    pub to: String,
}
/// A unified diff of one or more files, applied with no fuzz.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PatchEdit {
    pub patch: String,
}
/// The build arg has this value at this commit and after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SetArgEdit {
    pub set_arg: String,
    pub value: String,
}
/// `files` files of `size` bytes each, of seeded random bytes, under a folder.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GenerateEdit {
    pub generate: String,
    pub files: u32,
    pub size: u64,
    #[serde(default)]
    pub seed: u64,
}
