//! The parts of the page around the stage.

pub mod arrivals;
pub mod backend;
pub mod base_choice;
pub mod delete_button;
pub mod field_control;
pub mod header;
pub mod keys_sheet;
pub mod loss_chart;
pub mod make;
pub mod pair;
pub mod playground;
pub mod preflight;
pub mod previews;
pub mod prompt_notes;
pub mod recipe;
pub mod result;
pub mod run_bar;
pub mod runs_list;
pub mod set;
pub mod vae_choice;
