//! Which files of a crate import which, read from the tokens of the sources.
//!
//! An import is a path in a `use` or in the code that leads into another file of the same crate. It counts for the
//! file that it names: an item that a parent re-exports is imported from the parent. Comments and strings are no
//! tokens of this kind, a `mod child;` is no path, and what is compiled for unit tests alone is left out.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The modules that each module imports. A module is a file, written as `dispatch::accept`; the root of the crate is
/// `crate`.
pub(super) type Imports = BTreeMap<String, BTreeSet<String>>;

/// The imports between `files`: the text of each by its path below the crate's root file, as `dispatch/accept.rs`.
pub(super) fn imports(files: &BTreeMap<String, String>) -> Result<Imports> {
    let modules = files.keys().map(|path| module(path)).collect::<BTreeSet<_>>();
    let mut all = Imports::new();
    for (path, text) in files {
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow!("{error}")).with_context(|| path.clone())?;
        let module = module(path);
        let mut reader = Reader { modules: &modules, found: BTreeSet::new() };
        reader.read(tokens, &module);
        reader.found.remove(&module);
        all.insert(name(&module), reader.found.iter().map(name).collect());
    }
    Ok(all)
}

/// The path of a module below the root of its crate; empty for the root itself.
type Module = Vec<String>;

fn module(path: &str) -> Module {
    match path.trim_end_matches(".rs") {
        "lib" | "main" => Module::new(),
        path => path.split('/').map(str::to_owned).collect(),
    }
}

fn name(module: &Module) -> String {
    if module.is_empty() { "crate".to_owned() } else { module.join("::") }
}

struct Reader<'a> {
    modules: &'a BTreeSet<Module>,
    found: BTreeSet<Module>,
}

impl Reader<'_> {
    /// Reads tokens that stand in the module `here`: a file, or a module inside one.
    fn read(&mut self, tokens: TokenStream, here: &Module) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut rest = tokens.as_slice();
        while let Some((first, after)) = rest.split_first() {
            rest = match (first, after) {
                (hash, [attribute, item @ ..]) if is(hash, '#') && is_for_tests(attribute) => {
                    after_item(item)
                }
                (TokenTree::Ident(word), [next, ..]) if word == "use" && !is(next, '<') => {
                    let end = after.iter().position(|token| is(token, ';')).unwrap_or(after.len());
                    for path in use_tree(&after[..end], &[]) {
                        self.add(&path, here);
                    }
                    &after[end..]
                }
                (
                    TokenTree::Ident(word),
                    [TokenTree::Ident(name), TokenTree::Group(body), rest @ ..],
                ) if word == "mod" => {
                    let inside = [here.as_slice(), &[name.to_string()]].concat();
                    self.read(body.stream(), &inside);
                    rest
                }
                // What stands in the brackets of `pub(in crate::api)` is no import.
                (TokenTree::Ident(word), [TokenTree::Group(group), rest @ ..])
                    if word == "pub" && group.delimiter() == Delimiter::Parenthesis =>
                {
                    rest
                }
                (TokenTree::Ident(_), _) => {
                    let (path, rest) = path(rest);
                    if path.len() > 1 {
                        self.add(&path, here);
                    }
                    rest
                }
                // The path goes on after generic arguments, or begins with `::` and so in another crate.
                (TokenTree::Punct(_), [_, TokenTree::Ident(_), ..]) if starts_with_colons(rest) => {
                    path(&rest[2..]).1
                }
                (TokenTree::Group(group), _) => {
                    self.read(group.stream(), here);
                    after
                }
                _ => after,
            };
        }
    }

    /// Adds the file that a path leads to, if it is one of this crate.
    fn add(&mut self, path: &[String], here: &Module) {
        let child = [here.as_slice(), &path[..1]].concat();
        let starts_here = ["crate", "self", "super"].contains(&path[0].as_str());
        if !starts_here && !self.modules.contains(&child) {
            return;
        }
        let mut target = here.clone();
        for segment in path {
            match segment.as_str() {
                "crate" => target.clear(),
                "self" => {}
                "super" => drop(target.pop()),
                _ => target.push(segment.clone()),
            }
        }
        while !self.modules.contains(&target) && target.pop().is_some() {}
        self.found.extend(self.modules.get(&target).cloned());
    }
}

/// The paths in a use tree: `a::{b, c::*}` has `a::b` and `a::c`.
fn use_tree(tokens: &[TokenTree], prefix: &[String]) -> Vec<Vec<String>> {
    let branches = tokens.split(|token| is(token, ',')).filter(|branch| !branch.is_empty());
    let paths = branches.flat_map(|branch| {
        let mut path = prefix.to_vec();
        for token in branch {
            match token {
                TokenTree::Ident(word) if word == "as" => break,
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Group(group) => {
                    return use_tree(&group.stream().into_iter().collect::<Vec<_>>(), &path);
                }
                _ => {}
            }
        }
        vec![path]
    });
    paths.collect()
}

/// The path that the tokens begin with, and what comes after it.
fn path(mut rest: &[TokenTree]) -> (Vec<String>, &[TokenTree]) {
    let mut path = Vec::new();
    while let [TokenTree::Ident(word), after @ ..] = rest {
        path.push(word.to_string());
        rest = after;
        if !starts_with_colons(rest) || !matches!(rest.get(2), Some(TokenTree::Ident(_))) {
            break;
        }
        rest = &rest[2..];
    }
    (path, rest)
}

fn starts_with_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Punct(first), second, ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && is(second, ':'))
}

fn is(token: &TokenTree, punctuation: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == punctuation)
}

/// Whether a token is the `[cfg(test)]` of an attribute.
fn is_for_tests(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.stream().to_string() == "cfg (test)")
}

/// What comes after an item that ends with `;` or a body in braces.
fn after_item(tokens: &[TokenTree]) -> &[TokenTree] {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is(token, ';'),
    };
    tokens.iter().position(ends).map_or(&[], |end| &tokens[end + 1..])
}
