//! The scripts of the example `thumbnails`, with other programs in place of ImageMagick and ffmpeg: which names they take, how
//! they fail, and where the results are.

use std::{fs, os::unix::fs::symlink, path::Path};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use testbed::{Program, workspace};

/// A program that does what is asked of it: `ffprobe` gives a length, the others write into their last argument.
const GOOD: &str = r#"#!/bin/sh
for last; do :; done
echo 8.000000
case $last in null:) ;; *part) echo "of $*" >"${last#png:}" ;; esac
"#;
/// A program that leaves a file of its own, and half of a result.
const KILLED: &str = r#"#!/bin/sh
for last; do :; done
echo half >"$TMPDIR/cache"
case $last in *part) echo half >"${last#png:}"; kill -9 $$ ;; esac
echo 8.000000
"#;

const KINDS: [(&str, &str); 2] = [("thumbnail.sh", "thumbnails"), ("transcode.sh", "videos")];

/// The folder in which the scripts run.
struct Folder(TempDir);

impl Folder {
    fn with_files(files: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(path, "a picture, or a video")?;
        }
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs a script with this data while ImageMagick and ffmpeg are this program. Gives the exit code and what was said.
    async fn run(&self, script: &str, data: &str, tool: &str) -> Result<(Option<i32>, String)> {
        let script = workspace::root().join("examples/thumbnails").join(script);
        // A shell writes the program: it can't be started as long as anybody has it open.
        let line = r#"mkdir -p bin
            for name in convert ffmpeg ffprobe; do
                printf %s "$TOOL" >bin/$name && chmod +x bin/$name || exit 99
            done
            printf %s "$DATA" | PATH=$PWD/bin:$PATH sh "$SCRIPT" 3>/dev/null"#;
        let shell = Program::at("/bin/sh").arg("-c").arg(line).current_dir(self.path());
        let shell = shell.env("TOOL", tool).env("DATA", data).env("SCRIPT", script);
        let (status, said) = shell.start()?.ended().await?;
        Ok((status.code(), said))
    }

    /// All files below one of its folders, hidden ones among them, and no folder that is hidden.
    fn results(&self, below: &str) -> Result<Vec<String>> {
        let (mut folders, mut files) = (vec![self.path().join(below)], Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                let name = path.strip_prefix(self.path())?.display().to_string();
                ensure!(!name.contains("/."), "{name} is left");
                if path.is_dir() { folders.push(path) } else { files.push(name) }
            }
        }
        files.sort();
        Ok(files)
    }
}

#[tokio::test]
async fn names_that_are_no_files_below_the_folder_reach_no_program() -> Result<()> {
    let folder = Folder::with_files(&["outside.jpg"])?;
    let here = Folder(tempfile::tempdir_in(folder.path())?);
    symlink(folder.path().join("outside.jpg"), here.path().join("link.jpg"))?;
    fs::create_dir(here.path().join("folder"))?;
    let tool = "#!/bin/sh\ntouch called\n";
    for (script, _) in KINDS {
        for name in [
            "http://127.0.0.1/secret.png",
            "xc:red",
            "text:/etc/hostname",
            "-version",
            "/etc/hostname",
            "../outside.jpg",
            "link.jpg",
            "folder",
            "missing.jpg",
            "*",
            "",
        ] {
            let (code, said) = here.run(script, &format!("\"{name}\""), tool).await?;
            ensure!(code == Some(65), "{script} with {name}: {code:?} {said}");
            ensure!(said == "not the name of a file below this folder", "{name}: {said}");
        }
        ensure!(!here.path().join("called").exists(), "{script} has called a program");
    }
    Ok(())
}

#[tokio::test]
async fn a_link_to_a_file_below_the_folder_is_a_name_of_it() -> Result<()> {
    let folder = Folder::with_files(&["originals/a.jpg"])?;
    symlink("originals/a.jpg", folder.path().join("link.jpg"))?;
    let (code, said) = folder.run("thumbnail.sh", "\"link.jpg\"", GOOD).await?;
    ensure!(code == Some(0) && said.contains("thumbnails/link.jpg.png"), "{said}");
    Ok(())
}

#[tokio::test]
async fn only_a_program_that_has_read_the_file_says_that_it_is_broken() -> Result<()> {
    let folder = Folder::with_files(&["a.jpg"])?;
    for (script, _) in KINDS {
        for (ends, expected) in [("exit 1", 65), ("exit 127", 127), ("kill -9 $$", 137)] {
            let tool = format!("#!/bin/sh\n{ends}\n");
            let (code, said) = folder.run(script, "\"a.jpg\"", &tool).await?;
            ensure!(code == Some(expected), "{script}, {ends}: {code:?} {said}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_place_for_results_that_can_not_be_written_is_no_broken_file() -> Result<()> {
    for (script, results) in KINDS {
        let folder = Folder::with_files(&["a.jpg", results])?;
        let (code, said) = folder.run(script, "\"a.jpg\"", "#!/bin/sh\nexit 1\n").await?;
        ensure!(code == Some(75), "{script}: {code:?} {said}");
    }
    Ok(())
}

#[tokio::test]
async fn files_of_the_same_name_have_results_of_their_own() -> Result<()> {
    let files = ["a/x.jpg", "a/x.png", "b/x.jpg"];
    for (script, results) in KINDS {
        let folder = Folder::with_files(&files)?;
        for file in files {
            let (code, said) = folder.run(script, &format!("\"{file}\""), GOOD).await?;
            ensure!(code == Some(0), "{script}: {said}");
        }
        let ending = if results == "videos" { "webm" } else { "png" };
        let expected = files.map(|file| format!("{results}/{file}.{ending}"));
        ensure!(folder.results(results)? == expected, "{:?}", folder.results(results)?);
    }
    Ok(())
}

#[tokio::test]
async fn work_that_fails_leaves_nothing_but_earlier_results() -> Result<()> {
    for (script, results) in KINDS {
        let folder = Folder::with_files(&["a.jpg"])?;
        for (tool, expected) in [(GOOD, 0), (KILLED, 137)] {
            let (code, said) = folder.run(script, "\"a.jpg\"", tool).await?;
            ensure!(code == Some(expected), "{script}: {code:?} {said}");
            let [result] = &folder.results(results)?[..] else { panic!("{said}") };
            let text = fs::read_to_string(folder.path().join(result))?;
            ensure!(text.starts_with("of "), "{result}: {text}");
        }
    }
    Ok(())
}
