//! Where the frame is on the stage: zoom, pan, and fingers.

/// The frame's place on the stage: `stage = frame · scale + (x, y)`, in CSS px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// CSS px per px of the frame.
    pub scale: f64,
    /// Left edge of the frame on the stage, CSS px.
    pub x: f64,
    /// Top edge of the frame on the stage, CSS px.
    pub y: f64,
}

/// Smallest and largest zoom, CSS px per px.
const SCALES: (f64, f64) = (0.05, 64.0);
/// Part of the stage that stays free around a fitted frame.
const MARGIN: f64 = 0.04;

impl View {
    /// The whole frame in the middle of the stage, as large as it can be.
    #[must_use]
    pub fn fit(frame: (u32, u32), stage: (f64, f64)) -> Self {
        let (width, height) = (f64::from(frame.0.max(1)), f64::from(frame.1.max(1)));
        let free = 1.0 - 2.0 * MARGIN;
        let scale = (stage.0 * free / width).min(stage.1 * free / height);
        let scale = scale.clamp(SCALES.0, SCALES.1);
        Self {
            scale,
            x: (stage.0 - width * scale) / 2.0,
            y: (stage.1 - height * scale) / 2.0,
        }
    }

    /// A point of the stage, in the frame's px.
    #[must_use]
    pub fn frame_from_stage(self, x: f64, y: f64) -> (f32, f32) {
        let frame = |stage: f64, origin: f64| ((stage - origin) / self.scale) as f32;
        (frame(x, self.x), frame(y, self.y))
    }

    /// Zoomed by a factor, with this point of the stage staying where it is.
    #[must_use]
    pub fn zoomed(self, factor: f64, at: (f64, f64)) -> Self {
        let scale = (self.scale * factor).clamp(SCALES.0, SCALES.1);
        let real = scale / self.scale;
        Self {
            scale,
            x: at.0 - (at.0 - self.x) * real,
            y: at.1 - (at.1 - self.y) * real,
        }
    }

    /// Moved by CSS px.
    #[must_use]
    pub fn panned(self, dx: f64, dy: f64) -> Self {
        Self {
            x: self.x + dx,
            y: self.y + dy,
            ..self
        }
    }
}

/// One finger on the stage.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Finger {
    id: i32,
    at: (f64, f64),
}

/// What fingers do to the view.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Touched {
    /// One finger: it is a pointer like any other.
    Paints,
    /// Two fingers: the stroke under way is to be taken back.
    TakesOver,
    /// Two fingers moved: the view follows.
    Moves(View),
    /// Two fingers tapped: undo.
    Undoes,
    /// Nothing: a palm, or a finger too many.
    Nothing,
}

/// Fingers on the stage. One paints, two pan and zoom, a tap of two undoes; none of them does
/// anything once a pen was seen, because a hand that holds a pen rests on the glass.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fingers {
    down: Vec<Finger>,
    has_pen: bool,
    /// Whether two fingers were down and have not gone all up yet.
    is_pinching: bool,
    /// How far two fingers have moved since they came down, CSS px.
    travelled: f64,
    began_millis: f64,
}

/// Two fingers that move less than this, CSS px, and stay shorter than this, ms, are a tap.
const TAP: (f64, f64) = (12.0, 350.0);

impl Fingers {
    /// A pen was seen: fingers do not paint any more.
    pub const fn saw_pen(&mut self) {
        self.has_pen = true;
    }

    /// A finger comes down.
    pub fn press(&mut self, id: i32, at: (f64, f64), now_millis: f64) -> Touched {
        self.down.retain(|finger| finger.id != id);
        self.down.push(Finger { id, at });
        match self.down.len() {
            1 if self.has_pen => Touched::Nothing,
            1 => {
                self.is_pinching = false;
                Touched::Paints
            }
            2 => {
                self.is_pinching = true;
                self.travelled = 0.0;
                self.began_millis = now_millis;
                Touched::TakesOver
            }
            _ => Touched::Nothing,
        }
    }

    /// A finger moves.
    pub fn drag(&mut self, id: i32, at: (f64, f64), view: View) -> Touched {
        let Some(index) = self.down.iter().position(|finger| finger.id == id) else {
            return Touched::Nothing;
        };
        let before = self.down[index].at;
        self.down[index].at = at;
        if !self.is_pinching {
            return if self.has_pen {
                Touched::Nothing
            } else {
                Touched::Paints
            };
        }
        let [first, second, ..] = self.down[..] else {
            return Touched::Nothing;
        };
        if index > 1 {
            return Touched::Nothing;
        }
        let other = if index == 0 { second.at } else { first.at };
        self.travelled += distance(before, at);
        let factor = distance(at, other).max(1.0) / distance(before, other).max(1.0);
        let middle = |a: (f64, f64)| ((a.0 + other.0) / 2.0, (a.1 + other.1) / 2.0);
        let (from, to) = (middle(before), middle(at));
        Touched::Moves(view.zoomed(factor, to).panned(to.0 - from.0, to.1 - from.1))
    }

    /// A finger goes up, or is lost.
    pub fn release(&mut self, id: i32, now_millis: f64) -> Touched {
        let was_down = self.down.len();
        self.down.retain(|finger| finger.id != id);
        if self.down.len() == was_down {
            return Touched::Nothing;
        }
        if !self.is_pinching {
            return if self.has_pen {
                Touched::Nothing
            } else {
                Touched::Paints
            };
        }
        if !self.down.is_empty() {
            return Touched::Nothing;
        }
        self.is_pinching = false;
        let is_tap = self.travelled < TAP.0 && now_millis - self.began_millis < TAP.1;
        if is_tap {
            Touched::Undoes
        } else {
            Touched::Nothing
        }
    }
}

fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VIEW: View = View {
        scale: 2.0,
        x: 10.0,
        y: 20.0,
    };

    #[test]
    fn a_fitted_frame_is_in_the_middle_and_all_of_it_is_seen() {
        let view = View::fit((128, 64), (800.0, 600.0));
        let (right, bottom) = (view.x + 128.0 * view.scale, view.y + 64.0 * view.scale);
        assert!(
            (view.x - (800.0 - right)).abs() < 1e-9,
            "as much left as right"
        );
        assert!(
            (view.y - (600.0 - bottom)).abs() < 1e-9,
            "as much above as below"
        );
        assert!(view.x > 0.0 && view.y > 0.0, "nothing is cut");
    }

    #[test]
    fn zooming_keeps_the_point_under_the_pointer() {
        let at = (123.0, 45.0);
        let before = VIEW.frame_from_stage(at.0, at.1);
        let after = VIEW.zoomed(1.7, at).frame_from_stage(at.0, at.1);
        assert!((before.0 - after.0).abs() < 1e-4, "{before:?} {after:?}");
        assert!((before.1 - after.1).abs() < 1e-4, "{before:?} {after:?}");
    }

    #[test]
    fn zoom_has_limits() {
        assert_eq!(VIEW.zoomed(1e9, (0.0, 0.0)).scale, SCALES.1, "in");
        assert_eq!(VIEW.zoomed(1e-9, (0.0, 0.0)).scale, SCALES.0, "out");
    }

    #[test]
    fn one_finger_paints_and_a_second_takes_the_stroke_back() {
        let mut fingers = Fingers::default();
        assert_eq!(fingers.press(1, (0.0, 0.0), 0.0), Touched::Paints, "one");
        assert_eq!(fingers.drag(1, (5.0, 0.0), VIEW), Touched::Paints, "moves");
        assert_eq!(
            fingers.press(2, (50.0, 0.0), 9.0),
            Touched::TakesOver,
            "two"
        );
    }

    #[test]
    fn two_fingers_that_part_zoom_in() {
        let mut fingers = Fingers::default();
        fingers.press(1, (100.0, 100.0), 0.0);
        fingers.press(2, (200.0, 100.0), 0.0);
        let Touched::Moves(view) = fingers.drag(2, (300.0, 100.0), VIEW) else {
            panic!("the view moves");
        };
        assert!(
            (view.scale - 4.0).abs() < 1e-9,
            "twice as far apart: {view:?}"
        );
    }

    #[test]
    fn a_short_tap_of_two_fingers_undoes_and_a_pinch_does_not() {
        let mut fingers = Fingers::default();
        fingers.press(1, (0.0, 0.0), 0.0);
        fingers.press(2, (40.0, 0.0), 10.0);
        assert_eq!(
            fingers.release(1, 90.0),
            Touched::Nothing,
            "one is still down"
        );
        assert_eq!(fingers.release(2, 100.0), Touched::Undoes, "a tap");
        fingers.press(1, (0.0, 0.0), 200.0);
        fingers.press(2, (40.0, 0.0), 210.0);
        fingers.drag(2, (90.0, 0.0), VIEW);
        fingers.release(1, 290.0);
        assert_eq!(fingers.release(2, 300.0), Touched::Nothing, "it moved");
    }

    #[test]
    fn a_palm_does_nothing_once_a_pen_was_seen() {
        let mut fingers = Fingers::default();
        fingers.saw_pen();
        assert_eq!(
            fingers.press(1, (0.0, 0.0), 0.0),
            Touched::Nothing,
            "a palm"
        );
        assert_eq!(
            fingers.press(2, (90.0, 0.0), 0.0),
            Touched::TakesOver,
            "two still pan"
        );
    }
}
