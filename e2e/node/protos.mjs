// The services of e2e/proto/grpc/testing, loaded at run time.
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const folder = fileURLToPath(new URL("../proto/grpc/testing", import.meta.url));
const definition = loader.loadSync("test.proto", {
  includeDirs: [folder],
  keepCase: true,
  defaults: true,
});

export const { TestService, UnimplementedService } = grpc.loadPackageDefinition(definition).grpc.testing;
export const INITIAL = "x-grpc-test-echo-initial";
export const TRAILING = "x-grpc-test-echo-trailing-bin";
export const payload = (size) => ({ body: Buffer.alloc(size) });
