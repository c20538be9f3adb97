.PHONY: demo test serve lint

demo:
	@scripts/demo

test:
	@scripts/test

serve:
	@scripts/serve

lint:
	@scripts/lint
