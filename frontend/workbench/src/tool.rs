//! Tools as state machines: pointers in, commands and hints out.
//!
//! A drag is a transaction. It ends with one undoable step, or with nothing at all when Escape or a
//! second finger takes it back.

use mimeo_image::{Brush, Paint, Rect, StrokePoint};

use crate::workbench::{Command, MaskCommand};

/// What a drag does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Tool {
    /// Paints where to learn.
    #[default]
    Brush,
    /// Takes paint away.
    Eraser,
    /// A rectangle.
    Box,
    /// A shape drawn by hand.
    Lasso,
    /// The area that lines enclose.
    Fill,
}

impl Tool {
    /// In the order of the toolbar.
    pub const ALL: [Self; 5] = [
        Self::Brush,
        Self::Eraser,
        Self::Box,
        Self::Lasso,
        Self::Fill,
    ];

    /// What people call it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Brush => "Brush",
            Self::Eraser => "Eraser",
            Self::Box => "Box",
            Self::Lasso => "Lasso",
            Self::Fill => "Fill",
        }
    }
}

/// A pointer, in the frame's px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pointer {
    /// Column, px; outside the frame where it is negative or too large.
    pub x: f32,
    /// Row, px.
    pub y: f32,
    /// How hard it presses, 0..=1; 1 where that cannot be told.
    pub pressure: f32,
    /// Whether it takes paint away: the right button, or the far end of a pen.
    pub erases: bool,
    /// Whether Shift is down.
    pub shift: bool,
}

impl Pointer {
    const fn stroke_point(self) -> StrokePoint {
        StrokePoint {
            x: self.x,
            y: self.y,
            pressure: self.pressure,
        }
    }

    const fn position(self) -> (f32, f32) {
        (self.x, self.y)
    }
}

/// What is being dragged.
#[derive(Debug, Clone, PartialEq, Default)]
enum Drag {
    #[default]
    None,
    Stroke,
    Box {
        from: (f32, f32),
        to: (f32, f32),
        paint: Paint,
    },
    Lasso {
        points: Vec<(f32, f32)>,
        paint: Paint,
    },
    /// Alt and the right button: sideways the size, upwards the softness.
    Sizing {
        from: (f32, f32),
        brush: Brush,
    },
}

/// Something half done, to be drawn above the mask.
#[derive(Debug, Clone, PartialEq)]
pub enum Outline {
    /// From one corner to the other, in the frame's px.
    Box((f32, f32), (f32, f32)),
    /// Corner by corner, in the frame's px.
    Lasso(Vec<(f32, f32)>),
}

/// The tool in hand, its brush, and the drag under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Toolbox {
    tool: Tool,
    brush: Brush,
    drag: Drag,
    /// Where the last stroke ended: Shift paints a straight line from there.
    last: Option<(f32, f32)>,
}

impl Default for Toolbox {
    fn default() -> Self {
        Self {
            tool: Tool::default(),
            brush: Brush {
                diameter: 24.0,
                softness: 0.3,
            },
            drag: Drag::None,
            last: None,
        }
    }
}

/// Smallest and largest brush, px.
pub const DIAMETERS: (f32, f32) = (1.0, 512.0);

/// What fingers do, where there is neither a mouse nor keys.
pub const TOUCH_HINT: &str = "One finger paints · two pan and zoom · a tap of two undoes";

impl Toolbox {
    /// The tool in hand.
    #[must_use]
    pub const fn tool(&self) -> Tool {
        self.tool
    }

    /// The brush.
    #[must_use]
    pub const fn brush(&self) -> Brush {
        self.brush
    }

    /// Whether a drag is under way.
    #[must_use]
    pub fn is_dragging(&self) -> bool {
        self.drag != Drag::None
    }

    /// Takes another tool in hand. What was half done is taken back.
    pub fn choose(&mut self, tool: Tool) -> Vec<Command> {
        let taken_back = self.cancel();
        self.tool = tool;
        taken_back
    }

    /// Gives the brush another size, px.
    pub fn set_diameter(&mut self, diameter: f32) {
        self.brush.diameter = diameter.clamp(DIAMETERS.0, DIAMETERS.1);
    }

    /// Makes the brush larger or smaller by about a sixth, and by at least a pixel.
    pub fn resize(&mut self, larger: bool) {
        let diameter = self.brush.diameter;
        let step = (diameter / 6.0).max(1.0);
        self.set_diameter(
            (if larger {
                diameter + step
            } else {
                diameter - step
            })
            .round(),
        );
    }

    /// Gives the brush another softness, 0..=1.
    pub fn set_softness(&mut self, softness: f32) {
        self.brush.softness = softness.clamp(0.0, 1.0);
    }

    /// Makes the brush softer or harder by a tenth.
    pub fn soften(&mut self, softer: bool) {
        let softness = self.brush.softness + if softer { 0.1 } else { -0.1 };
        self.set_softness((softness * 10.0).round() / 10.0);
    }

    /// A button or finger goes down.
    pub fn press(&mut self, at: Pointer) -> Vec<Command> {
        let erases = at.erases || self.tool == Tool::Eraser;
        let paint = if erases { Paint::Leave } else { Paint::Learn };
        match self.tool {
            Tool::Brush | Tool::Eraser => self.press_brush(at, paint),
            Tool::Box => {
                let (from, to) = (at.position(), at.position());
                self.drag = Drag::Box { from, to, paint };
                Vec::new()
            }
            Tool::Lasso => {
                let points = vec![at.position()];
                self.drag = Drag::Lasso { points, paint };
                Vec::new()
            }
            Tool::Fill => fill(at, paint).into_iter().collect(),
        }
    }

    fn press_brush(&mut self, at: Pointer, paint: Paint) -> Vec<Command> {
        self.drag = Drag::Stroke;
        let brush = self.brush;
        let start = self.last.filter(|_| at.shift);
        let Some((x, y)) = start else {
            let at = at.stroke_point();
            return vec![Command::BeginStroke { brush, paint, at }];
        };
        let from = StrokePoint {
            x,
            y,
            pressure: at.pressure,
        };
        vec![
            Command::BeginStroke {
                brush,
                paint,
                at: from,
            },
            Command::ExtendStroke(at.stroke_point()),
        ]
    }

    /// Alt and the right button go down: the drag changes the brush.
    pub fn press_sizing(&mut self, at: Pointer) {
        self.drag = Drag::Sizing {
            from: at.position(),
            brush: self.brush,
        };
    }

    /// The pointer moves while it is down.
    pub fn drag(&mut self, at: Pointer) -> Vec<Command> {
        match &mut self.drag {
            Drag::None => {}
            Drag::Stroke => {
                self.last = Some(at.position());
                return vec![Command::ExtendStroke(at.stroke_point())];
            }
            Drag::Box { to, .. } => *to = at.position(),
            Drag::Lasso { points, .. } => points.push(at.position()),
            Drag::Sizing { from, brush } => {
                let (from, brush) = (*from, *brush);
                self.set_diameter(brush.diameter + (at.x - from.0));
                // A hundred pixels upwards make a hard brush fully soft.
                self.set_softness(brush.softness + (from.1 - at.y) / 100.0);
            }
        }
        Vec::new()
    }

    /// The pointer goes up; the frame's size bounds what a box selects.
    pub fn release(&mut self, at: Pointer, frame: (u32, u32)) -> Vec<Command> {
        match std::mem::take(&mut self.drag) {
            Drag::None | Drag::Sizing { .. } => Vec::new(),
            Drag::Stroke => {
                self.last = Some(at.position());
                vec![Command::EndStroke]
            }
            Drag::Box { from, paint, .. } => {
                let rect = Rect::between(from, at.position(), frame.0, frame.1);
                let is_click = (from.0 - at.x).abs() < 1.0 && (from.1 - at.y).abs() < 1.0;
                if rect.is_empty() || is_click {
                    return Vec::new();
                }
                vec![Command::Mask(MaskCommand::Box(rect, paint))]
            }
            Drag::Lasso { mut points, paint } => {
                points.push(at.position());
                if points.len() < 3 {
                    return Vec::new();
                }
                vec![Command::Mask(MaskCommand::Lasso(points, paint))]
            }
        }
    }

    /// Escape, a second finger, or a lost pointer: takes back what is half done.
    pub fn cancel(&mut self) -> Vec<Command> {
        match std::mem::take(&mut self.drag) {
            Drag::Stroke => vec![Command::CancelStroke],
            Drag::Sizing { brush, .. } => {
                self.brush = brush;
                Vec::new()
            }
            Drag::None | Drag::Box { .. } | Drag::Lasso { .. } => Vec::new(),
        }
    }

    /// What is half done, to be drawn.
    #[must_use]
    pub fn outline(&self) -> Option<Outline> {
        match &self.drag {
            Drag::Box { from, to, .. } => Some(Outline::Box(*from, *to)),
            Drag::Lasso { points, .. } => Some(Outline::Lasso(points.clone())),
            Drag::None | Drag::Stroke | Drag::Sizing { .. } => None,
        }
    }

    /// What pointers do now, for the status line. Made from the state, so that it cannot lie.
    #[must_use]
    pub const fn hints(&self) -> &'static str {
        match (&self.drag, self.tool) {
            (Drag::Stroke, _) => "Let go to finish · Esc takes the stroke back",
            (Drag::Box { .. } | Drag::Lasso { .. }, _) => "Let go to fill · Esc takes it back",
            (Drag::Sizing { .. }, _) => "Sideways: size · up and down: softness",
            (Drag::None, Tool::Brush) => {
                "Drag paints · right button erases · Shift-click: straight line · [ ] size · Space pans"
            }
            (Drag::None, Tool::Eraser) => {
                "Drag erases · Shift-click: straight line · [ ] size · Space pans"
            }
            (Drag::None, Tool::Box) => "Drag a rectangle · right button erases · Space pans",
            (Drag::None, Tool::Lasso) => "Draw around it · right button erases · Space pans",
            (Drag::None, Tool::Fill) => {
                "Click into a closed line · right button erases · Space pans"
            }
        }
    }
}

fn fill(at: Pointer, paint: Paint) -> Option<Command> {
    let inside = at.x >= 0.0 && at.y >= 0.0;
    inside.then_some(Command::Mask(MaskCommand::Fill {
        x: at.x as u32,
        y: at.y as u32,
        paint,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32) -> Pointer {
        Pointer {
            x,
            y,
            pressure: 1.0,
            erases: false,
            shift: false,
        }
    }

    const FRAME: (u32, u32) = (64, 64);

    #[test]
    fn a_drag_with_the_brush_is_one_stroke() {
        let mut tools = Toolbox::default();
        let pressed = tools.press(at(1.0, 1.0));
        assert!(
            matches!(
                pressed[..],
                [Command::BeginStroke {
                    paint: Paint::Learn,
                    ..
                }]
            ),
            "{pressed:?}"
        );
        let dragged = tools.drag(at(5.0, 1.0));
        assert!(
            matches!(dragged[..], [Command::ExtendStroke(_)]),
            "{dragged:?}"
        );
        let released = tools.release(at(5.0, 1.0), FRAME);
        assert!(matches!(released[..], [Command::EndStroke]), "{released:?}");
        assert!(!tools.is_dragging(), "it is over");
    }

    #[test]
    fn the_right_button_erases_whatever_the_tool() {
        let right = Pointer {
            erases: true,
            ..at(1.0, 1.0)
        };
        let mut tools = Toolbox::default();
        let pressed = tools.press(right);
        assert!(
            matches!(
                pressed[..],
                [Command::BeginStroke {
                    paint: Paint::Leave,
                    ..
                }]
            ),
            "{pressed:?}"
        );
        tools.cancel();
        tools.choose(Tool::Fill);
        let filled = tools.press(right);
        assert!(
            matches!(
                filled[..],
                [Command::Mask(MaskCommand::Fill {
                    paint: Paint::Leave,
                    ..
                })]
            ),
            "{filled:?}"
        );
    }

    #[test]
    fn shift_paints_a_straight_line_from_where_the_last_stroke_ended() {
        let mut tools = Toolbox::default();
        tools.press(at(1.0, 1.0));
        tools.release(at(3.0, 4.0), FRAME);
        let line = tools.press(Pointer {
            shift: true,
            ..at(30.0, 40.0)
        });
        let [
            Command::BeginStroke { at: from, .. },
            Command::ExtendStroke(to),
        ] = line[..]
        else {
            panic!("a stroke of two points: {line:?}");
        };
        assert_eq!(
            ((from.x, from.y), (to.x, to.y)),
            ((3.0, 4.0), (30.0, 40.0)),
            "end to click"
        );
    }

    #[test]
    fn escape_takes_a_half_drawn_shape_back() {
        let mut tools = Toolbox::default();
        tools.choose(Tool::Box);
        tools.press(at(1.0, 1.0));
        tools.drag(at(9.0, 9.0));
        assert!(tools.outline().is_some(), "it is shown");
        tools.cancel();
        assert!(
            tools.release(at(9.0, 9.0), FRAME).is_empty(),
            "and forgotten"
        );
        tools.choose(Tool::Brush);
        tools.press(at(1.0, 1.0));
        let taken_back = tools.cancel();
        assert!(
            matches!(taken_back[..], [Command::CancelStroke]),
            "{taken_back:?}"
        );
    }

    #[test]
    fn a_click_with_the_box_selects_nothing() {
        let mut tools = Toolbox::default();
        tools.choose(Tool::Box);
        tools.press(at(5.0, 5.0));
        assert!(
            tools.release(at(5.0, 5.0), FRAME).is_empty(),
            "not one pixel"
        );
    }

    #[test]
    fn the_brush_stays_between_its_limits() {
        let mut tools = Toolbox::default();
        (0..100).for_each(|_| tools.resize(false));
        assert_eq!(tools.brush().diameter, DIAMETERS.0, "smallest");
        (0..100).for_each(|_| tools.resize(true));
        assert_eq!(tools.brush().diameter, DIAMETERS.1, "largest");
        (0..20).for_each(|_| tools.soften(true));
        assert_eq!(tools.brush().softness, 1.0, "softest");
    }
}
