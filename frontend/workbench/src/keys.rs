//! The one table of keys: what a press does, what the `?` sheet says, what a tool's tooltip says.

use crate::tool::Tool;

/// What a key does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Take a tool in hand.
    Choose(Tool),
    /// A and B change places.
    Swap,
    /// A smaller brush.
    Smaller,
    /// A larger brush.
    Larger,
    /// A harder brush.
    Harder,
    /// A softer brush.
    Softer,
    /// The rest of the mask.
    Invert,
    /// Nothing masked.
    Clear,
    /// The suggested mask.
    Suggest,
    /// The whole frame on the stage.
    Fit,
    /// Closer.
    ZoomIn,
    /// Farther.
    ZoomOut,
    /// One of the stage's views, from 1.
    Show(u8),
    /// Mask on or off.
    ToggleMask,
    /// A while it is held, B else.
    Blink,
    /// Take back.
    Undo,
    /// Do again.
    Redo,
    /// Train.
    Train,
    /// Take back what is half done.
    Cancel,
    /// Show this table.
    Help,
}

/// Modifiers that a press must have; others must not be down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum With {
    /// None.
    Nothing,
    /// Shift.
    Shift,
    /// Ctrl, or Cmd on a Mac.
    Ctrl,
    /// Both.
    CtrlShift,
}

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// The key, as `KeyboardEvent.key` names it; letters in lower case.
    pub key: &'static str,
    /// With which modifiers.
    pub with: With,
    /// What it does.
    pub action: Action,
    /// The keys, for people.
    pub keys: &'static str,
    /// What it does, for people; empty where another line says it.
    pub says: &'static str,
}

const fn on(
    key: &'static str,
    with: With,
    action: Action,
    keys: &'static str,
    says: &'static str,
) -> Binding {
    Binding {
        key,
        with,
        action,
        keys,
        says,
    }
}

use Action as A;
use With::{Ctrl, CtrlShift, Nothing, Shift};

/// Every key, in the order of the `?` sheet.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    on("Enter", Ctrl, A::Train, "Ctrl+Enter", "Train"),
    on("z", Ctrl, A::Undo, "Ctrl+Z", "Undo"),
    on("z", CtrlShift, A::Redo, "Ctrl+Shift+Z", "Redo"),
    on("y", Ctrl, A::Redo, "Ctrl+Y", ""),
    on("b", Nothing, A::Choose(Tool::Brush), "B", "Brush"),
    on("e", Nothing, A::Choose(Tool::Eraser), "E", "Eraser"),
    on("r", Nothing, A::Choose(Tool::Box), "R", "Box"),
    on("l", Nothing, A::Choose(Tool::Lasso), "L", "Lasso"),
    on("f", Nothing, A::Choose(Tool::Fill), "F", "Fill"),
    on("[", Nothing, A::Smaller, "[", "Smaller brush"),
    on("]", Nothing, A::Larger, "]", "Larger brush"),
    on("{", Shift, A::Harder, "Shift+[", "Harder brush"),
    on("}", Shift, A::Softer, "Shift+]", "Softer brush"),
    on("g", Nothing, A::Suggest, "G", "Suggest a mask"),
    on("i", Shift, A::Invert, "Shift+I", "Invert the mask"),
    on("Delete", Nothing, A::Clear, "Delete", "Clear the mask"),
    on("m", Nothing, A::ToggleMask, "M", "Mask on or off"),
    on("x", Nothing, A::Swap, "X", "Swap A and B"),
    on("1", Nothing, A::Show(1), "1 – 5", "Views of the stage"),
    on("2", Nothing, A::Show(2), "2", ""),
    on("3", Nothing, A::Show(3), "3", ""),
    on("4", Nothing, A::Show(4), "4", ""),
    on("5", Nothing, A::Show(5), "5", ""),
    on("\\", Nothing, A::Blink, "\\ (hold)", "A while it is held"),
    on("0", Nothing, A::Fit, "0", "Fit to the stage"),
    on("+", Nothing, A::ZoomIn, "+", "Zoom in"),
    on("+", Shift, A::ZoomIn, "Shift++", ""),
    on("=", Nothing, A::ZoomIn, "=", ""),
    on("-", Nothing, A::ZoomOut, "-", "Zoom out"),
    on("Escape", Nothing, A::Cancel, "Esc", "Take back what is half done"),
    on("?", Shift, A::Help, "?", "This list"),
    on("?", Nothing, A::Help, "?", ""),
];

/// What keys do in the table of pairs, where a picture has the focus; for the `?` sheet.
pub const IN_TABLE: &[(&str, &str)] = &[
    (
        "Arrows",
        "Lead from picture to picture, in the table of pairs",
    ),
    ("Alt+↑, Alt+↓", "Move the picture to another pair"),
    ("Alt+←, Alt+→", "Swap A and B of the pair"),
    ("Enter", "Bring the pair onto the stage"),
];

/// What pointers do, for the `?` sheet.
pub const POINTERS: &[(&str, &str)] = &[
    ("Right button", "Erases"),
    ("Shift-click", "Straight line from the last point"),
    ("Ctrl+wheel", "Brush size"),
    ("Alt+right drag", "Brush size and softness"),
    ("Wheel", "Zoom"),
    ("Space+drag, middle button", "Pan"),
    ("Two fingers", "Pan and zoom; a tap undoes"),
];

/// A key that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Press<'a> {
    /// `KeyboardEvent.key`.
    pub key: &'a str,
    /// Whether Ctrl (or Cmd) is down.
    pub ctrl: bool,
    /// Whether Shift is down.
    pub shift: bool,
    /// Whether Alt is down.
    pub alt: bool,
    /// Whether the focus is in a text field: single keys are text there (WCAG 2.1.4).
    pub in_text: bool,
    /// Whether single keys are switched on.
    pub single_keys: bool,
}

impl Press<'_> {
    /// What it does; none if nothing.
    #[must_use]
    pub fn action(self) -> Option<Action> {
        if self.alt {
            return None;
        }
        let with = match (self.ctrl, self.shift) {
            (false, false) => Nothing,
            (false, true) => Shift,
            (true, false) => Ctrl,
            (true, true) => CtrlShift,
        };
        let is_hit =
            |binding: &&Binding| binding.with == with && binding.key.eq_ignore_ascii_case(self.key);
        let binding = BINDINGS.iter().find(is_hit)?;
        let is_single = matches!(binding.with, Nothing | Shift) && binding.key != "Escape";
        // In a text field, Ctrl+Z belongs to the text.
        let is_texts = matches!(binding.action, A::Undo | A::Redo);
        if self.in_text && (is_single || is_texts) || is_single && !self.single_keys {
            return None;
        }
        Some(binding.action)
    }
}

/// The keys of an action, for a tooltip.
#[must_use]
pub fn keys_of(action: Action) -> Option<&'static str> {
    let binding = BINDINGS.iter().find(|binding| binding.action == action)?;
    Some(binding.keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(key: &str) -> Press<'_> {
        Press {
            key,
            ctrl: false,
            shift: false,
            alt: false,
            in_text: false,
            single_keys: true,
        }
    }

    #[test]
    fn no_two_lines_want_the_same_keys() {
        for (at, binding) in BINDINGS.iter().enumerate() {
            let twin = BINDINGS[..at]
                .iter()
                .find(|other| other.key == binding.key && other.with == binding.with);
            assert_eq!(twin, None, "{} is taken", binding.keys);
        }
    }

    #[test]
    fn single_keys_are_text_in_a_text_field() {
        let typed = Press {
            in_text: true,
            ..press("b")
        };
        assert_eq!(typed.action(), None, "a letter");
        let train = Press {
            in_text: true,
            ctrl: true,
            ..press("Enter")
        };
        assert_eq!(train.action(), Some(A::Train), "Ctrl+Enter is no text");
        let undo = Press {
            in_text: true,
            ctrl: true,
            ..press("z")
        };
        assert_eq!(undo.action(), None, "undoes the typing");
    }

    #[test]
    fn single_keys_can_be_switched_off() {
        let off = Press {
            single_keys: false,
            ..press("b")
        };
        assert_eq!(off.action(), None, "off");
        let escape = Press {
            single_keys: false,
            ..press("Escape")
        };
        assert_eq!(escape.action(), Some(A::Cancel), "Escape always works");
    }

    #[test]
    fn capitals_mean_shift_and_not_another_key() {
        let press = Press {
            shift: true,
            ..press("I")
        };
        assert_eq!(press.action(), Some(A::Invert), "Shift+I");
    }
}
