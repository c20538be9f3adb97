.PHONY: demo test soak serve lint field-study

demo:
	@scripts/demo

test:
	@scripts/test

soak:
	@scripts/soak

serve:
	@scripts/serve

lint:
	@scripts/lint

field-study:
	@scripts/field-study
