# What the layer's Makefile and the functions' share. ROOT is the repository's folder, ARTIFACTS_DIR where SAM wants the result.
.SILENT:
UV := $(or $(wildcard $(ROOT)/.venv/bin/uv),$(shell command -v uv))

# Any Python 3.12 writes the bytecode that Lambda's reads: that of make's environment, or one that uv finds.
is_3_12 = $(if $(1),$(shell '$(1)' -c 'import sys; print(*sys.version_info[:2])' 2>/dev/null | grep -qx '3 12' && echo yes))
FOUND := $(if $(UV),$(shell UV_PYTHON_DOWNLOADS=never '$(UV)' python find --no-project --no-config 3.12 2>/dev/null))
PYTHON := $(firstword $(foreach each,$(ROOT)/.venv/bin/python $(FOUND),$(if $(call is_3_12,$(each)),$(each))))

# Bytecode that is never compared with its source, so that what happened to the files' times on the way to Lambda does
# not matter; it says in tracebacks where the file is there, $(1). One input makes one output: the hash seed, the
# order and the files' times are fixed, and everyone may read it, whatever the umask.
define with_bytecode
	$(if $(PYTHON),,echo 'Python 3.12 is needed to compile for Lambda: `make .venv/.ready` finds it, or uv.' >&2; exit 1)
	find '$(ARTIFACTS_DIR)' -name __pycache__ -type d -prune -exec rm -rf {} +
	PYTHONHASHSEED=0 '$(PYTHON)' -P -m compileall -q -f --invalidation-mode unchecked-hash \
	  -s '$(ARTIFACTS_DIR)' -p '$(1)' '$(ARTIFACTS_DIR)'
	chmod -R u=rwX,go=rX '$(ARTIFACTS_DIR)'
	find '$(ARTIFACTS_DIR)' -exec touch -h -t 198001020000 {} +
endef
