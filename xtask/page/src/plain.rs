//! A program for browsers that lack WebAssembly's relaxed vectors, made of the one for those that have
//! them: compiling it twice would take minutes more.
//!
//! Relaxed are operations whose last bits the processor decides
//! (<https://github.com/WebAssembly/relaxed-simd>). Of these the trainer has the multiplication and
//! addition in one, which most processors do at once; here it becomes a multiplication and an addition.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use walrus::ir::{
    BinaryOp, Binop, Instr, InstrLocId, InstrSeq, LocalGet, LocalSet, TernOp, TernaryOp,
    VisitorMut, dfs_pre_order_mut,
};
use walrus::{LocalId, Module, ModuleConfig, ValType};

use crate::folder;

/// What the file of a program without them is called, `NAME_plain_bg.wasm` of `NAME_bg.wasm`.
fn plain_name(program: &Path) -> Result<PathBuf> {
    let name = program.file_name().and_then(|name| name.to_str());
    let stem = name.and_then(|name| name.strip_suffix("_bg.wasm"));
    let stem = stem.with_context(|| format!("no program of a page: {}", program.display()))?;
    Ok(program.with_file_name(format!("{stem}_plain_bg.wasm")))
}

/// Writes, beside a program, the one without relaxed vectors.
pub fn write_beside(program: &Path) -> Result<()> {
    let failed = |what: &str| format!("{} {what}", program.display());
    let bytes = folder::read(program)?;
    let parsed = ModuleConfig::new()
        .generate_producers_section(false)
        .parse(&bytes);
    let mut module = parsed.map_err(|error| anyhow!("{}: {error}", failed("cannot be read")))?;
    make_plain(&mut module).with_context(|| failed("cannot do without relaxed vectors"))?;
    folder::write(&plain_name(program)?, module.emit_wasm())
}

/// Puts other operations into the place of every relaxed one.
fn make_plain(module: &mut Module) -> Result<()> {
    for (_, function) in module.funcs.iter_local_mut() {
        // All of a function may share them: none is read before it was written in the same place.
        let locals = [(); 2].map(|()| module.locals.add(ValType::V128));
        let mut rewriter = Rewriter {
            locals,
            unknown: None,
        };
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut rewriter, function, entry);
        if let Some(operation) = rewriter.unknown {
            bail!("{operation} has no other form here yet");
        }
    }
    Ok(())
}

struct Rewriter {
    locals: [LocalId; 2],
    /// A relaxed operation that is left.
    unknown: Option<String>,
}

impl VisitorMut for Rewriter {
    fn start_instr_seq_mut(&mut self, sequence: &mut InstrSeq) {
        let is_relaxed = |(instruction, _): &(Instr, InstrLocId)| relaxed(instruction).is_some();
        if !sequence.instrs.iter().any(is_relaxed) {
            return;
        }
        let mut rewritten = Vec::with_capacity(sequence.instrs.len() + 8);
        for (instruction, place) in sequence.instrs.drain(..) {
            match relaxed(&instruction) {
                None => rewritten.push((instruction, place)),
                Some(name) => match self.other_form(&instruction) {
                    Some(others) => rewritten.extend(others.map(|other| (other, place))),
                    None => self.unknown = Some(name),
                },
            }
        }
        sequence.instrs = rewritten;
    }
}

impl Rewriter {
    /// `a b c` on the stack become `a·b + c`, or `c - a·b`.
    fn other_form(&self, instruction: &Instr) -> Option<[Instr; 6]> {
        let Instr::TernOp(TernOp { op }) = instruction else {
            return None;
        };
        let (multiply, combine) = match op {
            TernaryOp::F32x4RelaxedMadd => (BinaryOp::F32x4Mul, BinaryOp::F32x4Add),
            TernaryOp::F32x4RelaxedNmadd => (BinaryOp::F32x4Mul, BinaryOp::F32x4Sub),
            TernaryOp::F64x2RelaxedMadd => (BinaryOp::F64x2Mul, BinaryOp::F64x2Add),
            TernaryOp::F64x2RelaxedNmadd => (BinaryOp::F64x2Mul, BinaryOp::F64x2Sub),
            _ => return None,
        };
        let [added, product] = self.locals;
        Some([
            Instr::LocalSet(LocalSet { local: added }),
            Instr::Binop(Binop { op: multiply }),
            Instr::LocalSet(LocalSet { local: product }),
            Instr::LocalGet(LocalGet { local: added }),
            Instr::LocalGet(LocalGet { local: product }),
            Instr::Binop(Binop { op: combine }),
        ])
    }
}

/// The name of a relaxed operation; none of any other.
fn relaxed(instruction: &Instr) -> Option<String> {
    let name = match instruction {
        Instr::TernOp(TernOp { op }) => format!("{op:?}"),
        Instr::Binop(Binop { op }) => format!("{op:?}"),
        Instr::Unop(unop) => format!("{:?}", unop.op),
        _ => return None,
    };
    name.contains("Relaxed").then_some(name)
}

#[cfg(test)]
mod tests {
    use walrus::{FunctionBuilder, FunctionId};

    use super::*;

    /// A function of three vectors that puts them through an operation.
    fn module(op: TernaryOp) -> (Module, FunctionId) {
        let mut module = Module::default();
        let [a, b, c] = [(); 3].map(|()| module.locals.add(ValType::V128));
        let mut function =
            FunctionBuilder::new(&mut module.types, &[ValType::V128; 3], &[ValType::V128]);
        function
            .func_body()
            .local_get(a)
            .local_get(b)
            .local_get(c)
            .instr(TernOp { op });
        let id = function.finish(vec![a, b, c], &mut module.funcs);
        module.exports.add("f", id);
        (module, id)
    }

    fn operations(module: &Module, id: FunctionId) -> Vec<String> {
        let function = module.funcs.get(id).kind.unwrap_local();
        let instructions = &function.block(function.entry_block()).instrs;
        let operations = instructions
            .iter()
            .map(|(instruction, _)| match instruction {
                Instr::LocalGet(_) => "get".to_owned(),
                Instr::LocalSet(_) => "set".to_owned(),
                Instr::Binop(Binop { op }) => format!("{op:?}"),
                other => format!("{other:?}"),
            });
        operations.collect()
    }

    #[test]
    fn two_at_once_become_one_after_the_other() {
        for (op, combine) in [
            (TernaryOp::F32x4RelaxedMadd, "F32x4Add"),
            (TernaryOp::F32x4RelaxedNmadd, "F32x4Sub"),
        ] {
            let (mut module, id) = module(op);
            make_plain(&mut module).unwrap();
            let expected = [
                "get", "get", "get", "set", "F32x4Mul", "set", "get", "get", combine,
            ];
            assert_eq!(operations(&module, id), expected, "{op:?}");
            // What is no program could not be read again.
            Module::from_buffer(&module.emit_wasm()).unwrap();
        }
    }

    #[test]
    fn what_has_no_other_form_is_told() {
        let (mut module, _) = module(TernaryOp::I8x16RelaxedLaneselect);
        let error = make_plain(&mut module).unwrap_err().to_string();
        assert!(error.contains("I8x16RelaxedLaneselect"), "{error}");
    }

    #[test]
    fn the_file_has_a_name_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let (mut module, _) = module(TernaryOp::F32x4RelaxedMadd);
        let program = folder.path().join("trainer_bg.wasm");
        folder::write(&program, module.emit_wasm()).unwrap();
        write_beside(&program).unwrap();
        let plain = folder::read(&folder.path().join("trainer_plain_bg.wasm")).unwrap();
        Module::from_buffer(&plain).unwrap();
        assert!(
            write_beside(&folder.path().join("other.wasm")).is_err(),
            "no program of a page"
        );
    }
}
