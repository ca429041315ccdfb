//! From `index.html` to the page: what its tags marked `data-trunk` ask for, under the names and in
//! the words of Trunk 0.21.
//!
//! Of what Trunk knows, only what `index.html` uses; anything else is an error, because the two must
//! not make different pages of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str;

use anyhow::{Context as _, Result, bail};

use crate::document::{self, Tag};
use crate::{bindgen, folder, note};

/// Marks what is there for one part of the page only.
const PART: &str = "data-part";

/// Where the page will be, as seen from itself.
const BASE: &str = "./";

/// What to make of which file.
pub struct Order {
    /// The page as it is written.
    pub index: PathBuf,
    /// The folder for the page as it is served.
    pub dist: PathBuf,
    /// The compiled programs by their names.
    pub programs: BTreeMap<String, PathBuf>,
    /// Parts that the page does without.
    pub without: Vec<String>,
    /// Where it is noted what the page was made of.
    pub note: Option<PathBuf>,
}

/// Makes the page, unless the one that is there was made of the same. What was in the folder before
/// stays if that fails, and goes if it does not.
pub fn make(order: &Order) -> Result<()> {
    let html = folder::read(&order.index)?;
    let html = str::from_utf8(&html).context("the page is not written in UTF-8")?;
    let tags = document::tags(html)?;
    for part in &order.without {
        if !tags.iter().any(|tag| tag.get(PART) == Some(part)) {
            bail!("nothing in the page is marked {PART}=\"{part}\"");
        }
    }
    let sources = sources(order, &tags);
    if let Some(file) = &order.note
        && folder::read(file).is_ok_and(|noted| noted == note::of(order, &sources).as_bytes())
    {
        return Ok(());
    }
    let stage = folder::Stage::new(&order.dist)?;
    let mut maker = Maker {
        order,
        stage: stage.path(),
        preloads: String::new(),
    };
    let mut page = String::new();
    let mut rest = 0;
    for tag in tags {
        let is_left_out = order.leaves_out(&tag);
        if !is_left_out && tag.get("data-trunk").is_none() {
            continue;
        }
        page += &html[rest..tag.range.start];
        rest = tag.range.end;
        if tag.name == "script" {
            let end = "</script>";
            if !html[rest..].starts_with(end) {
                bail!("a script from a file has nothing else in it");
            }
            rest += end.len();
        }
        if !is_left_out {
            page += &maker.follow(&tag)?;
        }
    }
    page += &html[rest..];
    let head = page.find("</head>").context("the page has no <head>")?;
    page.insert_str(head, &maker.preloads);
    folder::write(&stage.path().join("index.html"), page)?;
    stage.publish()?;
    if let Some(file) = &order.note {
        folder::write(file, note::of(order, &sources))?;
    }
    Ok(())
}

/// The files and folders that the page is made of, besides the programs.
fn sources(order: &Order, tags: &[Tag<'_>]) -> Vec<PathBuf> {
    let asks = tags.iter().filter(|tag| {
        let is_program = tag.get("rel") == Some("rust");
        tag.get("data-trunk").is_some() && !is_program && !order.leaves_out(tag)
    });
    let named = asks.filter_map(|tag| tag.get("href").or(tag.get("src")));
    named.map(|path| order.source(path)).collect()
}

impl Order {
    fn leaves_out(&self, tag: &Tag<'_>) -> bool {
        let mut without = self.without.iter();
        without.any(|part| tag.get(PART) == Some(part))
    }

    /// A path that stands in the page.
    fn source(&self, path: &str) -> PathBuf {
        self.index.with_file_name("").join(path)
    }
}

struct Maker<'a> {
    order: &'a Order,
    stage: PathBuf,
    /// Tags for the end of the head, by which the page knows its program.
    preloads: String,
}

impl Maker<'_> {
    /// Does what a tag asks for; the answer is what stands in its place.
    fn follow(&mut self, tag: &Tag<'_>) -> Result<String> {
        match (tag.name, tag.get("rel")) {
            ("link", Some("css")) => self.style(tag),
            ("link", Some("copy-file")) => self.copy_file(tag),
            ("link", Some("copy-dir")) => self.copy_folder(tag),
            ("link", Some("rust")) => self.program(tag),
            ("script", None) => self.script(tag),
            (name, rel) => {
                let rel = rel.unwrap_or_default();
                bail!("this maker of pages does not know <{name} data-trunk rel=\"{rel}\">")
            }
        }
    }

    fn style(&self, tag: &Tag<'_>) -> Result<String> {
        only(tag, &["rel", "href"])?;
        let name = self.put_hashed(tag.need("href")?)?;
        Ok(format!(r#"<link rel="stylesheet" href="{BASE}{name}"/>"#))
    }

    fn script(&self, tag: &Tag<'_>) -> Result<String> {
        only(tag, &["type", "src"])?;
        let name = self.put_hashed(tag.need("src")?)?;
        let kind = tag.need("type")?;
        Ok(format!(
            r#"<script src="{BASE}{name}" type="{kind}"></script>"#
        ))
    }

    fn copy_file(&self, tag: &Tag<'_>) -> Result<String> {
        only(tag, &["rel", "href", PART])?;
        let file = self.order.source(tag.need("href")?);
        folder::write(&self.stage.join(name(&file)?), folder::read(&file)?)?;
        Ok(String::new())
    }

    fn copy_folder(&self, tag: &Tag<'_>) -> Result<String> {
        only(tag, &["rel", "href", PART])?;
        let source = self.order.source(tag.need("href")?);
        folder::copy(&source, &self.stage.join(name(&source)?))?;
        Ok(String::new())
    }

    /// The page's own program, or that of a worker, which the page has to find by its name.
    fn program(&mut self, tag: &Tag<'_>) -> Result<String> {
        // How it is compiled is over by now.
        let compiling = [
            "data-cargo-profile",
            "data-cargo-profile-dev",
            "data-cargo-profile-release",
        ];
        let binding = [
            "data-bin",
            "data-type",
            "data-bindgen-target",
            "data-wasm-opt",
        ];
        only(
            tag,
            &[&["rel", "href", PART][..], &compiling, &binding].concat(),
        )?;
        let bin = tag.need("data-bin")?;
        let is_worker = match tag.get("data-type") {
            None | Some("main") => false,
            Some("worker") => true,
            Some(other) => bail!("this maker of pages knows no data-type=\"{other}\""),
        };
        // Trunk's default for the page itself, but not for workers.
        if tag.get("data-bindgen-target") != is_worker.then_some("web") {
            bail!(
                "this maker of pages makes modules (data-bindgen-target=\"web\") of workers only"
            );
        }
        if tag.need("data-wasm-opt")? != "0" {
            bail!("this maker of pages has no wasm-opt");
        }
        let compiled = self.order.programs.get(bin);
        let compiled =
            compiled.with_context(|| format!("say where {bin} is: --program {bin}=FILE"))?;
        bindgen::program(compiled, bin, &self.stage)?;
        if is_worker {
            return Ok(String::new());
        }
        // As it was compiled: what is made of it depends on nothing else.
        let hashed = format!("{bin}-{:x}", seahash::hash(&folder::read(compiled)?));
        for end in [".js", "_bg.wasm"] {
            let [made, kept] = [bin, &hashed].map(|name| self.stage.join(format!("{name}{end}")));
            folder::rename(&made, &kept)?;
        }
        self.preload("modulepreload", &format!("{hashed}.js"), "");
        for snippet in folder::files(&self.stage.join("snippets"))? {
            self.preload("modulepreload", &format!("snippets/{snippet}"), "");
        }
        let kind = r#" as="fetch" type="application/wasm""#;
        self.preload("preload", &format!("{hashed}_bg.wasm"), kind);
        Ok(String::new())
    }

    fn preload(&mut self, rel: &str, file: &str, more: &str) {
        let link =
            format!(r#"<link rel="{rel}" href="{BASE}{file}" crossorigin="anonymous"{more}>"#);
        self.preloads += &link;
    }

    /// Copies a file under a name that changes with what is in it.
    fn put_hashed(&self, path: &str) -> Result<String> {
        let file = self.order.source(path);
        let content = folder::read(&file)?;
        let name = name(&file)?;
        let parts = name.rsplit_once('.');
        let (stem, end) = parts.with_context(|| format!("{name} has no ending"))?;
        let hashed = format!("{stem}-{:x}.{end}", seahash::hash(&content));
        folder::write(&self.stage.join(&hashed), content)?;
        Ok(hashed)
    }
}

/// An attribute that Trunk may understand and this does not would make another page.
fn only(tag: &Tag<'_>, known: &[&str]) -> Result<()> {
    let known = [&["data-trunk"], known].concat();
    match tag.others(&known).next() {
        None => Ok(()),
        Some((attribute, _)) => bail!(
            "this maker of pages does not know {attribute} in <{} data-trunk>",
            tag.name
        ),
    }
}

fn name(path: &Path) -> Result<&str> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.with_context(|| format!("this has no name: {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A folder with a page, and what Trunk 0.21.14 makes of its `index.html`, but for programs.
    fn sources(index: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("style")).unwrap();
        fs::create_dir_all(path("pairs/one")).unwrap();
        fs::write(path("index.html"), index).unwrap();
        fs::write(path("style/main.css"), "p { color: red }\n").unwrap();
        fs::write(path("start.js"), "start();\n").unwrap();
        fs::write(path("worker.js"), "work();\n").unwrap();
        fs::write(path("pairs/one/A.png"), "A").unwrap();
        folder
    }

    fn order(folder: &Path, without: &[&str]) -> Order {
        Order {
            index: folder.join("index.html"),
            dist: folder.join("dist"),
            programs: BTreeMap::new(),
            without: without.iter().map(|part| (*part).to_owned()).collect(),
            note: None,
        }
    }

    fn made(folder: &Path) -> (String, Vec<String>) {
        let dist = folder.join("dist");
        let page = fs::read_to_string(dist.join("index.html")).unwrap();
        let files = folder::files(&dist).unwrap();
        (page, files.into_iter().collect())
    }

    const INDEX: &str = r#"<!doctype html>
<head>
  <!-- <link data-trunk rel="css" href="gone.css"> -->
  <link data-trunk rel="css" href="style/main.css" />
  <link data-trunk rel="copy-dir" href="pairs" />
  <meta name="worker" content="worker.js" data-part="worker" />
  <link data-trunk rel="copy-file" href="worker.js" data-part="worker" />
  <script data-trunk type="module" src="start.js"></script>
</head>
<p>kept</p>
"#;

    #[test]
    fn styles_and_scripts_get_hashed_names_and_files_are_copied() {
        let folder = sources(INDEX);
        make(&order(folder.path(), &[])).unwrap();
        let (page, files) = made(folder.path());
        let [style, script] = ["p { color: red }\n", "start();\n"]
            .map(|content| format!("{:x}", seahash::hash(content.as_bytes())));
        let expected = INDEX
            .replace(
                r#"<link data-trunk rel="css" href="style/main.css" />"#,
                &format!(r#"<link rel="stylesheet" href="./main-{style}.css"/>"#),
            )
            .replace(r#"<link data-trunk rel="copy-dir" href="pairs" />"#, "")
            .replace(
                r#"<link data-trunk rel="copy-file" href="worker.js" data-part="worker" />"#,
                "",
            )
            .replace(
                r#"<script data-trunk type="module" src="start.js">"#,
                &format!(r#"<script src="./start-{script}.js" type="module">"#),
            );
        assert_eq!(page, expected, "the rest of the page as it was");
        assert_eq!(
            files,
            [
                "index.html",
                &format!("main-{style}.css"),
                "pairs/one/A.png",
                &format!("start-{script}.js"),
                "worker.js"
            ],
            "what it refers to"
        );
    }

    #[test]
    fn a_part_that_is_left_out_leaves_neither_tags_nor_files() {
        let folder = sources(INDEX);
        make(&order(folder.path(), &["worker"])).unwrap();
        let (page, files) = made(folder.path());
        assert!(!page.contains("worker"), "{page}");
        assert!(!files.contains(&"worker.js".to_owned()), "{files:?}");
        let error = make(&order(folder.path(), &["wroker"])).unwrap_err();
        assert!(error.to_string().contains("wroker"), "a typo: {error}");
    }

    #[test]
    fn a_page_is_made_again_only_of_something_else() {
        let folder = sources(INDEX);
        let mut order = order(folder.path(), &[]);
        order.note = Some(folder.path().join("note"));
        make(&order).unwrap();
        let again = |order: &Order| {
            let page = order.dist.join("index.html");
            let before = fs::metadata(&page).unwrap().modified().unwrap();
            make(order).unwrap();
            before != fs::metadata(&page).unwrap().modified().unwrap()
        };
        assert!(!again(&order), "of the same");
        fs::write(folder.path().join("style/main.css"), "p { color: blue }\n").unwrap();
        assert!(again(&order), "of another style");
        fs::write(folder.path().join("pairs/one/B.png"), "B").unwrap();
        assert!(again(&order), "of another picture");
        order.without = vec!["worker".to_owned()];
        assert!(again(&order), "of fewer parts");
        fs::remove_file(order.dist.join("pairs/one/A.png")).unwrap();
        assert!(again(&order), "where a file of it is gone");
        assert!(!again(&order), "of the same, again");
    }

    #[test]
    fn what_trunk_might_do_otherwise_is_refused_and_the_old_page_stays() {
        let folder = sources(INDEX);
        make(&order(folder.path(), &[])).unwrap();
        let old = made(folder.path()).0;
        for (tag, says) in [
            (r#"<link data-trunk rel="sass" href="a.scss" />"#, "sass"),
            (
                r#"<link data-trunk rel="css" href="style/main.css" data-inline />"#,
                "data-inline",
            ),
            (
                r#"<link data-trunk rel="css" href="none.css" />"#,
                "none.css",
            ),
            (
                r#"<link data-trunk rel="rust" data-bin="app" data-wasm-opt="0" />"#,
                "--program app=FILE",
            ),
            (
                r#"<link data-trunk rel="rust" data-bin="app" data-wasm-opt="z" />"#,
                "wasm-opt",
            ),
            (
                r#"<link data-trunk rel="rust" data-bin="app" data-type="worker" />"#,
                "data-bindgen-target",
            ),
            (
                r#"<script data-trunk type="module" src="start.js">1</script>"#,
                "nothing else",
            ),
        ] {
            let index = INDEX.replace("</head>", &format!("{tag}</head>"));
            fs::write(folder.path().join("index.html"), index).unwrap();
            let error = format!("{:#}", make(&order(folder.path(), &[])).unwrap_err());
            assert!(error.contains(says), "{tag}: {error}");
            let page = folder.path().join("dist/index.html");
            assert_eq!(fs::read_to_string(page).unwrap(), old, "{tag}");
        }
    }
}
