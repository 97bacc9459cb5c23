# wit: two commands do all the set-up on a fresh machine: `make queries shards` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
WIT := $(VENV)/bin/wit
PIP := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt
SOURCES := wit queries pipelines trainer tests benchmarks docs

PAIRS ?= 4000
SEED ?= 0
SCALE ?= 10
SAMPLE := data/sample
QUERIES := data/queries
RUN := runs/tiny
MODEL := runs/model

.PHONY: help install install-train install-dev sample queries shards train test lint format docs soak soak-fetch bench-fetch bench-shards bench-hamming bench-near-duplicates bench-loading bench-training bench-evaluation bench-queries bench-candidates clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Each stamp says which extras are installed; a change of the pins installs anew.
$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.core: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/.train: $(VENV)/.core
	$(PIP) --editable '.[train]'
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(PIP) --editable '.[dev,spark,train,detect]'
	touch $@ $(VENV)/.train

install: $(VENV)/.core ## Install wit without torch and Spark
install-train: $(VENV)/.train ## Install what training needs
install-dev: $(VENV)/.dev ## Install everything that the tests need

sample: $(VENV)/.core ## Write the miniature web (PAIRS=4000 SEED=0)
	$(WIT) sample $(SAMPLE) --pairs $(PAIRS) --seed $(SEED)

queries: sample ## Build the query list of the miniature Wikipedia
	$(WIT) queries build --dump $(SAMPLE)/wiki/samplewiki-pages-articles-multistream.xml.bz2 \
	  --pageviews '$(SAMPLE)/pageviews/*.gz' --wordnet $(SAMPLE)/wordnet/dict \
	  --min-word-count 100 --min-bigram-count 20 --min-pmi 6 --min-views 70 --out $(QUERIES)

shards: queries ## Crawl the miniature web into shards, and check every candidate against the truth
	$(WIT) sample serve $(SAMPLE) -- $(WIT) run tiny --out $(RUN) \
	  --set fetch.connect_to={address} --set balance.cap={cap}
	$(WIT) shards verify $(RUN)/shards
	$(WIT) sample check $(SAMPLE) $(RUN)

train: shards $(VENV)/.train ## Train a small CLIP on the shards, and evaluate it on held-out classes
	$(WIT) train tiny --shards '$(RUN)/shards/*.tar' --out $(MODEL)
	$(WIT) evaluate $(MODEL) --data $(SAMPLE)/eval/heldout --templates sample

test: $(VENV)/.dev ## Run the tests
	$(VENV)/bin/python -m pytest

lint: $(VENV)/.dev ## Check style, types, import rules and generated pages
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m docs.generate --check

format: $(VENV)/.dev ## Format the code
	$(VENV)/bin/ruff check --fix $(SOURCES)
	$(VENV)/bin/ruff format $(SOURCES)

docs: $(VENV)/.dev ## Write the reference pages from the code
	$(VENV)/bin/python -m docs.generate

soak: $(VENV)/.dev ## Kill a run at 30 random moments, restart it, and compare the bytes
	$(VENV)/bin/python -m benchmarks.kill_soak

soak-fetch: $(VENV)/.dev ## Kill a crawl 50 times, fill its disk, take its folder and its network away (as root)
	$(VENV)/bin/python -m benchmarks.fetch_soak --kills 50 --outage-s 60 --pairs 1000

bench-fetch: $(VENV)/.dev ## Measure fetching beside img2dataset, from nginx (PHOTOS=folder PEERS=python-with-img2dataset)
	$(VENV)/bin/python -m benchmarks.fetching --photos $(PHOTOS) --peers $(PEERS)

bench-shards: $(VENV)/.dev ## Measure the commands on shards at 10,000, 100,000 and a million samples
	$(VENV)/bin/python -m benchmarks.shard_tools

bench-hamming: $(VENV)/.dev ## Measure the search of hashes beside FAISS and numpy, at 0.1, 1 and 10 million
	$(VENV)/bin/python -m benchmarks.hamming --limit 60

bench-near-duplicates: $(VENV)/.dev ## Recall and false pairs over radius (DATA=folder PEERS=python-with-imagededup DETECTOR=file.onnx)
	$(VENV)/bin/python -m benchmarks.near_duplicates --data $(DATA) --peers $(PEERS) --detector $(DETECTOR) --out data/bench/near_duplicates

bench-loading: $(VENV)/.dev ## Measure the training loader beside webdataset and open_clip (DATA=folder PEERS=python-with-open_clip)
	$(VENV)/bin/python -m benchmarks.loading $(DATA) --peers $(PEERS)

bench-training: $(VENV)/.dev ## Measure training steps beside open_clip's, on a GPU (PEERS=python-with-open_clip)
	$(VENV)/bin/python -m benchmarks.train_throughput --peers $(PEERS) --real

bench-evaluation: $(VENV)/.dev ## A trained and a random checkpoint on real images, beside scikit-learn (DATA=folder with cifar10 and caltech101)
	$(VENV)/bin/python -m benchmarks.evaluation $(DATA) data/bench/evaluation
	$(VENV)/bin/python -m benchmarks.evaluation_scale metrics

bench-queries: $(VENV)/.dev ## Measure query building beside decompression (DUMP=enwiki-….xml.bz2 SCALE=10)
	$(VENV)/bin/python -m benchmarks.synthetic_dump data/bench/$(SCALE)x.xml.bz2 --from $(DUMP) --scale $(SCALE)
	$(VENV)/bin/python -m benchmarks.queries data/bench/$(SCALE)x.xml.bz2

bench-candidates: $(VENV)/.dev ## Measure extract to balance over synthetic crawls (CAPTIONS=captions.parquet LIST=queries)
	$(VENV)/bin/python -m benchmarks.candidates --captions $(CAPTIONS) --queries $(LIST)

clean: ## Remove what was made, the environment included
	rm -rf $(VENV) data runs build dist *.egg-info
