# `make up` starts a demo, `make test` checks everything. The scripts are in jobs/dev.
.DEFAULT_GOAL := help
.PHONY: help up down test test-long test-servers fuzz fuzz-schema fuzz-suggestions fmt lint sdl docs release-schema bench-latency bench-pull bench-throughput bench-footprint bench-live bench-reads

help: ## List these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: ## Build, start the gateway with what it needs, and pull a demo image with it
	@jobs/dev/up.sh

down: ## Stop what `make up` started; its data stays in .wharfinger
	@jobs/dev/down.sh

test: ## Run every check and every test, on servers that it starts
	@jobs/dev/test.sh

test-long: ## Run what takes longer, before an issue is called resolved: more databases, the long forms, what measures waits
	@jobs/dev/with-servers.sh jobs/dev/tests.sh long

test-servers: ## Run CMD='…' (or a shell) beside test servers
	@jobs/dev/with-servers.sh $(or $(CMD),bash)

fuzz: ## Run the fuzz targets, SECONDS=60 each
	@jobs/dev/fuzz.sh $(or $(SECONDS),60)

fuzz-schema: ## Run schemathesis against the schema for SECONDS=300
	@WHARFINGER_TEST_SERVERS="redis:redis postgres:postgres engine:engine1 registry:registry" \
	  jobs/dev/with-servers.sh jobs/dev/fuzz-schema.sh $(or $(SECONDS),300)

fuzz-suggestions: ## Let clairvoyance guess at the schema where it should learn nothing
	@jobs/dev/fuzz-suggestions.sh

fmt: ## Format the code
	@cargo fmt --all

lint: ## Run clippy as the checks do
	@cargo clippy --workspace --all-targets -- -D warnings

sdl: ## Write the GraphQL schema that the code makes to api/schema.graphql
	@cargo run --quiet -p wharfinger -- schema > api/schema.graphql.new && mv api/schema.graphql.new api/schema.graphql

docs: ## Write the pages that are made from the program: settings, tables, the list of decisions
	@WHARFINGER_TEST_WRITE_DOCS=1 cargo test --quiet --workspace --test documents -- made_from

release-schema: ## At a release: keep its schema as the one to compare the next with
	@cp api/schema.graphql api/schema.released.graphql && echo '[]' > api/schema.breaking.json

bench-latency: ## Measure the time from a mutation's answer to the engine, beside BullMQ
	@jobs/dev/bench.sh latency

bench-pull: ## Measure a whole pull of 300 MB beside docker pull
	@jobs/dev/bench.sh pull

bench-throughput: ## Measure jobs a second with an engine that answers at once
	@jobs/dev/bench.sh throughput

bench-footprint: ## Measure idle memory and the time until ready
	@jobs/dev/bench.sh footprint

bench-live: ## Measure ten thousand subscribers of a hundred pulls, beside a bare WebSocket broadcast
	@jobs/dev/bench.sh live

bench-reads: ## Measure lists and balances beside bare SQL handlers and GraphQL servers on Node
	@jobs/dev/bench.sh reads
