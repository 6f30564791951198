// SPDX-License-Identifier: Apache-2.0
//
// Memory with one write and one read port, for rows of a feature map and for whole vectors.
// The read is synchronous, so that it maps to block RAM; the data holds while `read` is low.
// Users never read an address in the clock that writes it, so no bypass is needed.

`default_nettype none

module line_memory #(
    parameter WIDTH      = 8,   // bits of a word
    parameter DEPTH      = 32,  // words
    parameter ADDR_WIDTH = (DEPTH > 1) ? $clog2(DEPTH) : 1
) (
    input  wire                  clk,
    input  wire                  write,
    input  wire [ADDR_WIDTH-1:0] write_addr,
    input  wire [WIDTH-1:0]      write_data,
    input  wire                  read,
    input  wire [ADDR_WIDTH-1:0] read_addr,
    output wire [WIDTH-1:0]      read_data
);

    (* no_rw_check *)
    reg [WIDTH-1:0] memory [0:DEPTH-1];
    reg [WIDTH-1:0] read_data_reg;

    assign read_data = read_data_reg;

    always @(posedge clk) begin
        if (write)
            memory[write_addr] <= write_data;
        if (read)
            read_data_reg <= memory[read_addr];
    end

endmodule

`default_nettype wire
