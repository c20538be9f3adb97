.PHONY: demo test serve lint field-study

demo:
	@scripts/demo

test:
	@scripts/test

serve:
	@scripts/serve

lint:
	@scripts/lint

field-study:
	@scripts/field-study
