# The images for both processors, compiled by BuildKit: `docker buildx bake`. Several processors need
# an engine with the containerd image store, or a registry: `IMAGES=registry.example.com/system-stats
# docker buildx bake --push`. Dependencies are layers of the Dockerfile, so a build's cache can be kept
# anywhere: `--set '*.cache-to=type=local,dest=…'`.
variable "IMAGES" { default = "system-stats" }
variable "TAG" { default = "latest" }
# The commit and its date for /healthz, such as "0123... 2026-11-28T10:00:00Z"; may be empty.
variable "BUILT_FROM" { default = "" }

group "default" { targets = ["stats", "frontend", "gateway"] }

target "image" {
  name      = service
  matrix    = { service = ["stats", "frontend", "gateway"] }
  target    = service
  platforms = ["linux/amd64", "linux/arm64"]
  args      = { BUILT_FROM = BUILT_FROM }
  tags      = ["${IMAGES}/${service}:${TAG}"]
}
