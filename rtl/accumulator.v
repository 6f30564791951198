// SPDX-License-Identifier: Apache-2.0
//
// Running sums of GROUPS output channels that take turns at one dot product.
//
//   acc = (first ? bias : what this group had before) + sum
//
// `acc` is combinational, so that the last chunk's result leaves without another clock; the memory
// takes it at the clock edge. It is exact as long as the final result fits: the arithmetic is
// modulo 2^ACC_WIDTH.

`default_nettype none

module accumulator #(
    parameter GROUPS      = 1,   // sums kept at a time
    parameter SUM_WIDTH   = 16,
    parameter ACC_WIDTH   = 32,
    parameter GROUP_WIDTH = (GROUPS > 1) ? $clog2(GROUPS) : 1
) (
    input  wire                          clk,
    input  wire                          enable,
    input  wire                          first,  // this is the first chunk of a sum
    input  wire        [GROUP_WIDTH-1:0] group,
    input  wire signed [ACC_WIDTH-1:0]   bias,
    input  wire signed [SUM_WIDTH-1:0]   sum,
    output wire signed [ACC_WIDTH-1:0]   acc
);

    wire signed [ACC_WIDTH-1:0] resized;
    wire signed [ACC_WIDTH-1:0] previous;

    assign acc = (first ? bias : previous) + resized;

    generate
        if (ACC_WIDTH > SUM_WIDTH) begin : gen_extend
            assign resized = {{(ACC_WIDTH-SUM_WIDTH){sum[SUM_WIDTH-1]}}, sum};
        end else if (ACC_WIDTH < SUM_WIDTH) begin : gen_narrow
            wire unused = &{1'b0, sum[SUM_WIDTH-1:ACC_WIDTH]};
            assign resized = sum[ACC_WIDTH-1:0];
        end else begin : gen_same
            assign resized = sum;
        end

        if (GROUPS > 1) begin : gen_memory
            reg signed [ACC_WIDTH-1:0] memory [0:GROUPS-1];
            assign previous = memory[group];
            always @(posedge clk)
                if (enable)
                    memory[group] <= acc;
        end else begin : gen_register
            reg signed [ACC_WIDTH-1:0] acc_reg;
            wire unused = &{1'b0, group};
            assign previous = acc_reg;
            always @(posedge clk)
                if (enable)
                    acc_reg <= acc;
        end
    endgenerate

endmodule

`default_nettype wire
