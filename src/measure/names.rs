//! Numbers for strings that recur in every trial: step names, targets, layers.

use std::collections::HashMap;

/// A string of one [`Names`]; of another it means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(u32);

/// Every distinct string, numbered in the order of first sight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    numbers: HashMap<Box<str>, Name, foldhash::fast::RandomState>,
    texts: Vec<Box<str>>,
}

impl Names {
    /// The number of `text`, new if it was never seen.
    pub fn number(&mut self, text: &str) -> Name {
        if let Some(name) = self.numbers.get(text) {
            return *name;
        }
        // Four billion distinct names do not fit in memory, so the last number is never shared.
        let name = Name(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        self.numbers.insert(text.into(), name);
        self.texts.push(text.into());
        name
    }

    pub fn text(&self, name: Name) -> &str {
        self.texts.get(name.0 as usize).map_or("", |text| text)
    }

    /// What each name of `self` is called in `others`, which learns those that it lacks.
    pub fn translate_into(&self, others: &mut Self) -> Vec<Name> {
        self.texts.iter().map(|text| others.number(text)).collect()
    }

    /// A name's place in what [`Names::translate_into`] returns.
    pub fn place(name: Name) -> usize {
        name.0 as usize
    }
}
