//! No circles of imports between the files of a crate; an import through a re-export counts.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{
    imports::{Imports, imports},
    sources::crates,
};

#[test]
fn no_files_of_a_crate_import_each_other_in_a_circle() -> Result<()> {
    let mut found = Vec::new();
    for (name, files) in crates()? {
        for circle in circles(&imports(&files)?) {
            found.push(format!("{name}:\n  {}", circle.join("\n  ")));
        }
    }
    ensure!(found.is_empty(), "circles of imports in {}", found.join("\n"));
    Ok(())
}

/// The circles, each as the imports between its files.
fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reached: BTreeMap<_, _> =
        imports.keys().map(|file| (file, reached(imports, file))).collect();
    let both_ways = |file: &String| -> BTreeSet<String> {
        reached[file].iter().filter(|other| reached[other].contains(file)).cloned().collect()
    };
    let circles: BTreeSet<_> =
        imports.keys().map(both_ways).filter(|files| !files.is_empty()).collect();
    let arrows = |circle: &BTreeSet<String>| {
        let of_file = |file: &String| {
            let to: Vec<_> = imports[file].intersection(circle).cloned().collect();
            format!("{file} imports {}", to.join(", "))
        };
        circle.iter().map(of_file).collect()
    };
    circles.iter().map(arrows).collect()
}

/// All files that a file imports, directly or through others.
fn reached(imports: &Imports, from: &str) -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    let mut next: Vec<&String> = imports[from].iter().collect();
    while let Some(file) = next.pop() {
        if reached.insert(file.clone()) {
            next.extend(&imports[file]);
        }
    }
    reached
}

/// The circles of a crate of these files.
fn circles_of<const N: usize>(files: [(&str, &str); N]) -> Vec<Vec<String>> {
    let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
    circles(&imports(&files.into()).expect("these are tokens of Rust"))
}

#[test]
fn a_circle_is_found_by_whatever_path_it_goes() {
    let planted = [
        // Absolute, and by `super`.
        [("a.rs", "use crate::b::B;"), ("b.rs", "use super::a::A;")],
        // Nested use trees with other names and globs.
        [
            ("a.rs", "use crate::{x::Y, b::{self as c, inner::{Deep as D, *}}};"),
            ("b.rs", "use {std::fs, super::{a::*}};"),
        ],
        // Paths in the code, in types, in macros, behind generic arguments.
        [
            ("a.rs", "fn f() { Vec::<crate::b::B>::new(); }"),
            ("b.rs", "fn f() { println!(\"{}\", [super::a::A; 1].len()); }"),
        ],
        // A parent that uses its child, which uses the parent.
        [("a.rs", "mod b; use b::B;"), ("a/b.rs", "use super::A;")],
        // A parent that re-exports one child's item, which another one imports from the parent: here both are one.
        [("a.rs", "mod b; pub(crate) use self::b::B;"), ("a/b.rs", "fn f(x: super::B) {}")],
        // A relative path in the code.
        [("a.rs", "mod b; fn f() { b::g() }"), ("a/b.rs", "impl crate::a::A {}")],
        // The root's re-exports.
        [("lib.rs", "mod a; pub use a::A;"), ("a.rs", "use crate::A;")],
        // From a module inside a file.
        [("a.rs", "mod inner { use super::super::b::B; }"), ("b.rs", "use crate::a::inner::C;")],
    ];
    for files in planted {
        assert_eq!(circles_of(files).len(), 1, "{files:?}");
    }
}

#[test]
fn a_circle_goes_through_a_re_export_and_names_its_files() {
    let files = [
        ("lib.rs", "mod a; mod other;"),
        ("a.rs", "mod b; mod c; pub use self::c::C;"),
        ("a/b.rs", "pub struct B;"),
        ("a/c.rs", "use crate::a::d::D; pub struct C;"),
        ("a/d.rs", "use super::{b::B, C}; pub struct D;"),
        ("other.rs", "use crate::a::C;"),
    ];
    let arrows = ["a imports a::c", "a::c imports a::d", "a::d imports a"];
    assert_eq!(circles_of(files), [arrows.map(str::to_owned)]);
}

#[test]
fn what_looks_like_a_circle_and_is_none_is_not_found() {
    let innocent = [
        // A parent that declares its child, which imports from it.
        [("a.rs", "pub mod b; pub struct A;"), ("a/b.rs", "use super::A; use crate::a;")],
        // Comments, strings and documentation.
        [
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "/// [`crate::a::A`]\n// use crate::a;\nconst X: &str = \"crate::a::A\"; /* super::a::f() */",
            ),
        ],
        // Unit tests.
        [
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "struct B;\n#[cfg(test)]\nmod tests { use super::super::a::A; use crate::a; }",
            ),
        ],
        // Visibility, and other crates whose names are those of modules.
        [
            ("a.rs", "use crate::b::B;"),
            (
                "b.rs",
                "pub(in crate::a) struct B; fn f() { ::a::f(); <B as C>::a::g(); x.a::<u8>() }",
            ),
        ],
        // A name that a parent has inside itself.
        [("a.rs", "mod b; mod inner { pub use super::C; }"), ("a/b.rs", "use super::inner::C;")],
    ];
    for files in innocent {
        assert_eq!(circles_of(files), [[""; 0]; 0], "{files:?}");
    }
}
