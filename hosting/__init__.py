"""What AWS is to the functions, on any machine: gateway, invoker, schedules, read from template.yaml."""
