//! Names that a pickle has no honest reason to mention.
//!
//! Everything here could be kept as a placeholder like any other name, for nothing is executed.
//! But whoever gets such a file ought to know: Python would have run it.

/// Modules whose functions run programs, load code or reach the machine.
#[rustfmt::skip]
const MODULES: &[&str] = &[
    "_aix_support", "_osx_support", "_posixsubprocess", "_pyrepl", "_socket", "aiohttp", "asyncio",
    "bdb", "cProfile", "cffi", "cloudpickle", "code", "codeop", "commands", "concurrent", "ctypes",
    "dill", "distutils", "doctest", "ensurepip", "ftplib", "httplib", "idlelib", "imp", "importlib",
    "inspect", "io", "joblib", "lib2to3", "linecache", "marshal", "mmap", "multiprocessing", "nt",
    "ntpath", "numba", "operator", "_operator", "os", "pdb", "pickle", "_pickle", "cPickle", "pip",
    "pkgutil", "platform", "popen2", "posix", "posixpath", "profile", "pty", "py_compile", "pydoc",
    "requests", "runpy", "setuptools", "shelve", "shutil", "smtplib", "socket", "socketserver",
    "sqlite3", "ssl", "subprocess", "sys", "sysconfig", "tempfile", "threading", "_thread",
    "thread", "timeit", "trace", "urllib", "urllib2", "urllib3", "venv", "webbrowser", "xmlrpc",
    "yaml", "zipfile", "zipimport",
];

/// Single functions and submodules of modules that are otherwise harmless.
#[rustfmt::skip]
const NAMES: &[&str] = &[
    "numpy.f2py", "numpy.testing", "numpy.distutils", "numpy.load", "numpy.fromfile",
    "numpy.lib.npyio", "torch.classes", "torch.compile", "torch.hub", "torch.jit.load",
    "torch.jit.unsupported_tensor_ops", "torch.jit.script", "torch.jit.frontend",
    "torch.jit._script", "torch.load", "torch.multiprocessing", "torch.ops", "torch.package",
    "torch.save", "torch.serialization.load", "torch.testing", "torch.utils.bottleneck",
    "torch.utils.collect_env", "torch.utils.cpp_extension", "torch.utils.model_zoo",
    "torch._dynamo", "torch._inductor", "torch._library", "torch._ops",
    "torch.fx.graph_module.reduce_graph_module", "torch.fx._symbolic_trace", "pandas.eval",
    "pandas.io", "pandas.read_pickle", "functools.reduce", "types.BuiltinFunctionType",
    "types.CodeType", "types.FunctionType", "types.LambdaType", "types.MethodType",
    "types.new_class",
];

/// What is harmless in `builtins` (`__builtin__` in Python 2); all the rest of it is refused.
#[rustfmt::skip]
const BUILTINS: &[&str] = &[
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "long",
    "object", "range", "set", "slice", "str", "tuple", "type", "unicode", "xrange",
];

/// Whether naming this is a sign of ill intent.
pub(super) fn hostile(module: &str, name: &str) -> bool {
    let root = module.split('.').next().unwrap_or(module);
    if matches!(root, "builtins" | "__builtin__" | "__builtins__") {
        return module.contains('.') || !BUILTINS.contains(&name);
    }
    // Protocol 4 looks up dotted names attribute by attribute, and so can walk into the modules
    // that a harmless one has imported.
    let (walk, _) = name.rsplit_once('.').unwrap_or(("", name));
    let mut steps = walk.split('.').filter(|step| !step.is_empty());
    let opens_doors = |step: &str| {
        step.starts_with("__")
            || MODULES.contains(&step.trim_start_matches('_'))
            || MODULES.contains(&step)
    };
    if MODULES.contains(&root) || steps.any(opens_doors) {
        return true;
    }
    let full = format!("{module}.{name}");
    NAMES.iter().any(|listed| {
        full.strip_prefix(listed).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::hostile;

    #[test]
    fn what_runs_code_is_told_from_what_checkpoints_hold() {
        for (module, name) in [
            ("os", "system"),
            ("posix", "system"),
            ("nt", "system"),
            ("subprocess", "Popen"),
            ("builtins", "eval"),
            ("builtins", "getattr"),
            ("__builtin__", "execfile"),
            ("importlib", "import_module"),
            ("torch.hub", "load"),
            ("torch", "load"),
            ("torch.serialization", "os.system"),
            ("collections", "_sys.modules"),
            ("numpy.testing._private.utils", "runstring"),
            ("pytorch_lightning.trainer", "os.system"),
            ("x", "__globals__.y"),
        ] {
            assert!(hostile(module, name), "{module}.{name}");
        }
        for (module, name) in [
            ("collections", "OrderedDict"),
            ("torch._utils", "_rebuild_tensor_v2"),
            ("torch", "FloatStorage"),
            ("builtins", "set"),
            ("argparse", "Namespace"),
            ("pathlib", "PosixPath"),
            ("numpy.core.multiarray", "scalar"),
            ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"),
            ("__torch__.torch.nn.modules.conv", "Conv2d"),
            ("omegaconf.dictconfig", "DictConfig"),
            ("functools", "partial"),
            ("_codecs", "encode"),
        ] {
            assert!(!hostile(module, name), "{module}.{name}");
        }
    }
}
