//! What a run leaves, as files with names.

use mimeo_checkpoint::LoraFile;
use mimeo_engine::artifact::encode;
use mimeo_engine::{Artifact, FinishedCopier, Kept, PassStep, Phase, TrainingState};
use mimeo_image::{Rgb, encode_png};
use mimeo_protocol::{FileKind, JobEventKind, Precision, Strength};

use crate::archive::{Archive, KeptPicture, NewCopier};
use crate::recorder::Recorder;
use crate::store::copier_file_name;

impl<A: Archive> Recorder<A> {
    /// Takes what the engine hands over.
    pub fn keep(&mut self, kept: Kept) {
        match kept {
            Kept::State(state) => self.save_state(&state),
            Kept::Lora(PassStep { phase, step, .. }, file) => {
                let kind = FileKind::Step { phase, step };
                self.save_lora(&file, kind, self.job().recipe.precision);
            }
            Kept::Copier(copier) => self.save_copier(&copier),
            Kept::Preview {
                place,
                strength,
                prompt,
                seed,
                picture,
            } => self.save_preview(place, strength, (prompt, seed), &picture),
        }
    }

    /// Keeps what the run came to: the files and the scores.
    pub fn keep_results(&mut self, artifact: &Artifact) {
        let precision = self.job().recipe.precision;
        if let Some(copier) = &artifact.copier {
            self.save_lora(copier, FileKind::Copier, precision);
        }
        if let Some(lora) = &artifact.lora {
            self.save_lora(lora, FileKind::Lora, precision);
        }
        if let Some(scores) = &artifact.scores {
            let scores = scores.clone();
            self.record(&JobEventKind::Scores { scores });
        }
    }

    /// Keeps a LoRA or copier for the user.
    fn save_lora(&mut self, file: &LoraFile, kind: FileKind, precision: Precision) {
        let mut note = None;
        let encoded = encode(file, precision, |text| note = Some(text.to_owned()));
        if let Some(text) = note {
            self.record(&JobEventKind::Note { text });
        }
        let bytes = match encoded {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let name = match kind {
            FileKind::Lora => self.job().name.to_string(),
            FileKind::Copier => format!("{}_copy", self.job().name),
            FileKind::Step { phase, step } => {
                let copier = if phase == Phase::Copier { "_copy" } else { "" };
                format!("{}{copier}-{step:06}", self.job().name)
            }
        };
        let name = format!("{name}.safetensors");
        self.persist(|archive| archive.keep_file(kind, &name, &bytes));
    }

    /// Keeps a picture that was drawn with the LoRA.
    fn save_preview(
        &mut self,
        PassStep { phase, step, .. }: PassStep,
        strength: Strength,
        (prompt, seed): (String, u64),
        picture: &Rgb,
    ) {
        let bytes = match encode_png(picture) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        match self.persist(|archive| archive.keep_picture(&bytes)) {
            Some(KeptPicture::As(picture)) => self.record(&JobEventKind::Preview {
                phase,
                step,
                strength,
                prompt,
                seed,
                picture,
            }),
            Some(KeptPicture::NoRoom { sentence }) if !self.told_no_room => {
                self.told_no_room = true;
                let text = format!(
                    "There is no room for previews, so this run shows no more of them: {sentence}"
                );
                self.record(&JobEventKind::Note { text });
            }
            Some(KeptPicture::NoRoom { .. }) | None => {}
        }
    }

    /// Keeps a finished copier for other jobs.
    fn save_copier(&mut self, copier: &FinishedCopier) {
        let Some(fingerprint) = self.fingerprint.clone() else {
            return;
        };
        let Some(example) = self.job().examples.first() else {
            return;
        };
        let original = example.original;
        if self.persist(|archive| archive.copier_of(&fingerprint)) != Some(None) {
            // Its file stays as it is: jobs may be building upon it.
            return;
        }
        // In full precision, so that a job upon it makes the same file as the job that trained it.
        let bytes = match encode(&copier.file, Precision::F32, |_| ()) {
            Ok(bytes) => bytes,
            Err(error) => return self.fail(error.to_string()),
        };
        let file_name = copier_file_name(&self.job().name);
        self.persist(|archive| {
            archive.keep_copier(NewCopier {
                fingerprint: &fingerprint,
                original,
                fidelity: copier.fidelity,
                steps: copier.steps,
                file_name: &file_name,
                bytes: &bytes,
            })
        });
    }

    /// Keeps the state from which the job can go on.
    fn save_state(&mut self, state: &TrainingState) {
        let bytes = state.to_bytes();
        self.tell_losses();
        self.keep_pace();
        self.persist(|archive| archive.keep_state(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::{Pretended, job, lora};

    #[test]
    fn without_room_for_previews_the_run_goes_on_and_says_so_once() {
        let runner = Pretended::default();
        runner.is_full_of_pictures.set(true);
        let mut recorder = Recorder::new(runner.notes(), job());
        for step in [10, 20] {
            let (phase, steps) = (Phase::Training, 100);
            recorder.keep(Kept::Preview {
                place: PassStep { phase, step, steps },
                strength: Strength::constant(1.0),
                prompt: "a face".to_owned(),
                seed: 0,
                picture: Rgb::filled(8, 8, [9; 3]),
            });
        }
        let lines = runner.lines.take();
        assert_eq!(lines, ["picture", "fact", "picture"], "said once");
        assert_eq!(recorder.trouble(), None, "and no trouble for the run");
        recorder.save_lora(&lora(), FileKind::Lora, Precision::F32);
        assert_eq!(runner.lines.take(), ["file"], "its result");
    }
}
