/// Numbers with a shape: a tensor before it has a device.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Sizes, outermost first, in torch's order (`[out, in]` for a linear weight). Empty for a
    /// single number.
    pub shape: Vec<usize>,
    /// The values, row-major; as many as the product of `shape`.
    pub data: Vec<f32>,
}
