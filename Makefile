# `make demo` and `make test` set up everything they need: uv, .venv, the dependencies.

UV := $(or $(shell command -v uv 2>/dev/null),.uv/bin/uv)
RUN := $(UV) run --no-sync

.PHONY: demo test test-all test-arithmetic lint docs picture report setup constraints plots table1 audit-deps licences fuzz clean

demo: .venv/ready  ## the whole pipeline on the demo camera
	$(RUN) dvc repro
	@echo
	@echo "pictures:  data/camera/camera.png, data/train_dsn/contact_sheet.png"
	@ls data/train_srn/*/contact_sheet.png data/evaluate/*/side_by_side.png | sed 's/^/           /'
	@echo "audit:     data/audit/page/index.html"
	@echo "metrics:   data/*/metrics.json, data/*/*/metrics.json (all at once: uv run dvc metrics show)"
	@echo "all of it: make report writes data/report/index.html, one page to send"
	@echo "models:    data/train_srn/*/srn.safetensors (open in chaiNNer or ComfyUI, or: usrdu upscale)"

test: .venv/ready  ## all tests but the slow ones
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: .venv/ready  ## all tests: kills in every stage, the benchmarks at a tiny size, too
	$(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# The kernels of older machines and sums of two threads, as torch, oneDNN and OpenBLAS are told.
OLDEST := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 OPENBLAS_CORETYPE=Nehalem
ARITHMETICS := "USRDU_TEST_THREADS=1" "USRDU_TEST_THREADS=2" \
	"ATEN_CPU_CAPABILITY=default" "ATEN_CPU_CAPABILITY=avx2" \
	"ONEDNN_MAX_CPU_ISA=SSE41" "ONEDNN_MAX_CPU_ISA=AVX2" "$(OLDEST) USRDU_TEST_THREADS=2"

test-arithmetic: .venv/ready  ## tests of trained and drawn things on the kernels of other machines
	@failed=; for with in $(ARITHMETICS); do echo "arithmetic: $$with"; \
		env GOMP_SPINCOUNT=5000 $$with $(RUN) pytest -m arithmetic || failed="$$failed [$$with]"; done; \
	if [ -n "$$failed" ]; then echo "test-arithmetic: failed with$$failed"; exit 1; fi; \
	echo "test-arithmetic: passed with every arithmetic"

lint: .venv/ready  ## style and types
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

docs: .venv/ready  ## the site of docs/ in site/; a broken link or reference is an error
	$(RUN) mkdocs build --quiet --strict

picture: .venv/ready  ## docs/images/demo.png, from a finished demo
	$(RUN) usrdu degrade data/work/picture --maps data/export/maps.zarr \
		--theta camera --overwrite
	$(RUN) python docs/scripts/picture.py data data/work/picture/sample_000 docs/images/demo.png

plots: .venv/ready  ## dvc_plots/index.html, without network
	$(RUN) dvc plots show

report: .venv/ready  ## data/report/index.html, what dvc repro made on one page to send
	$(RUN) usrdu report

# Rows of Table 1 and two baselines: name, then what differs from the profile in force.
DSN_L1 := train_dsn.learn_theta=false train_dsn.learn_sigma=false
TABLE1 := "bicubic train_srn.lr_from=bicubic" \
	"mean-only train_srn.theta=none" \
	"row1 $(DSN_L1) train_srn.theta=none" \
	"row2 $(DSN_L1) train_srn.theta=constant train_srn.constant_theta_gray=1.0" \
	"row3 train_dsn.learn_sigma=false train_srn.theta=raw" \
	"row4 train_srn.theta=raw train_srn.adversarial_on=pixels" \
	"row5 train_srn.theta=raw"

table1: .venv/ready  ## queue the rows of the paper's Table 1; then: dvc queue start, dvc exp show
	@for row in $(TABLE1); do set -- $$row; name=$$1; shift; \
		for value in "$$@"; do shift; set -- "$$@" -S "$$value"; done; \
		for file in data/raw/weights/*; do set -- "$$@" --copy-paths "$$file"; done; \
		$(RUN) dvc exp run --queue --name table1-$$name "$$@" || exit 1; done
	@echo "run them: dvc queue start; look: dvc queue status, dvc exp show"

audit-deps: .venv/ready  ## known vulnerabilities of the dependencies (asks a service)
	@$(UV) tool run pip-audit==2.10.1 --strict --skip-editable --progress-spinner off \
		--path "$$($(RUN) python -c "import sysconfig; print(sysconfig.get_path('purelib'))")" \
		|| { echo "audit-deps: a vulnerability stands above, or the service could not be asked, so" \
		"that nothing is known"; exit 1; }

# What may be used, changed and passed on with nothing but a notice.
PERMISSIVE := MIT|BSD|Apache|PSF|Python Software Foundation|ISC|Zlib|OLDAP|Zope

licences: .venv/ready  ## licences of all dependencies; those that are not permissive again at the end
	@$(UV) tool run pip-licenses==5.5.5 --python .venv/bin/python --from mixed --format plain \
		| tee .venv/licences.txt
	@echo; echo "not permissive, or unknown; none of it is part of this project, see SECURITY.md:"
	@grep -E 'MPL' .venv/licences.txt; grep -Ev 'MPL|$(PERMISSIVE)' .venv/licences.txt

fuzz: .venv/ready  ## image reading, coverage-guided, FUZZ_SECONDS=300
	$(UV) run --no-sync --with atheris==3.0.0 python tests/reading/fuzz_images.py \
		-max_total_time=$(or $(FUZZ_SECONDS),300) -max_len=65536 -rss_limit_mb=4096

setup: .venv/ready  ## environment only

constraints: | $(UV)  ## rewrite constraints.txt after pyproject.toml changed; UPGRADE=--upgrade: newest versions
	$(UV) lock --quiet $(UPGRADE)
	$(UV) export --quiet --all-groups --no-emit-project --no-hashes --no-annotate --no-header \
		--output-file constraints.txt
	sed 's/ *;.*//' constraints.txt | LC_ALL=C sort -u -o constraints.txt

# Every package in the version of constraints.txt, transitive ones too.  uv.lock, which names addresses, stays
# on this machine; with it `uv run` keeps to the same versions.
.venv/ready: pyproject.toml constraints.txt | $(UV)
	$(UV) sync --quiet --compile-bytecode $$(sed 's/^/--upgrade-package /' constraints.txt)
	$(RUN) usrdu plots-page .dvc/plots_page.html
	$(RUN) dvc config --quiet --local plots.html_template plots_page.html
	@touch $@

.uv/bin/uv:
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv

clean:  ## everything the stages wrote
	rm -rf data/demo data/prepare data/camera data/train_dsn data/export data/calibrate data/audit data/train_srn data/evaluate data/report
	rm -rf data/work data/raw/demo dvc_plots site
